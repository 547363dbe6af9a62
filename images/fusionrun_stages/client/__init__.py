"""Requests to the server or endpoint of a source model."""
