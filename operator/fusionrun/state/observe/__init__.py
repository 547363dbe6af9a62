"""Observation: what the objects of a run say about its stages. Pure."""
