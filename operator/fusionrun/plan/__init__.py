"""From a spec to a DAG of stages, their digests and their tasks."""
