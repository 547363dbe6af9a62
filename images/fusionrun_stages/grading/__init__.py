"""Graders, one module per ``api.data.Grader``: rules that verify a response."""
