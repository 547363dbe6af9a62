"""The benchmarks of the paper as data, and the protocol of each benchmark of a spec."""
