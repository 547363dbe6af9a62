"""``hack/gpu/check``: the stages that use a GPU, with random weights of real architectures."""
