"""Access to the API server, and the store of its objects. The only package that uses the Kubernetes client."""
