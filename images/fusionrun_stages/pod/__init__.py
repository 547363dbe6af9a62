"""The environment of a stage in its pod: lease, progress, resource limits, GPUs."""
