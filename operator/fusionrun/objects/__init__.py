"""How it looks in Kubernetes: plain dicts, one builder per kind. Pure."""
