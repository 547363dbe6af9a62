"""The Kubernetes objects of a stage, as plain dicts: one builder per kind of object."""
