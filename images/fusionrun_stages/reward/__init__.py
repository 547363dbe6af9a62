"""Reward models, loaded in this process or behind an endpoint."""
