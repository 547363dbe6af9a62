"""`hack/gpu/check`: the stages that use a GPU, with random weights of a real architecture, on a machine with one GPU."""
