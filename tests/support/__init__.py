"""Builders of objects and a simulated API server, for the tests of the functional core."""
