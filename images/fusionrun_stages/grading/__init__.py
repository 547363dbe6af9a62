"""Graders: rules that verify a response."""
