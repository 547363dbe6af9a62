"""Protocols of benchmarks whose responses a model judges: the requests to the judge, and what its replies mean."""
