"""What a pod does around its stage: lease, progress, limits, GPUs."""
