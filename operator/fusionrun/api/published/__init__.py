"""Numbers that others published: speeds of GPUs, sizes of data sets, scores of the paper."""
