"""One module per format of benchmarks. Each has a function that opens the files (``item.Opened``)."""
