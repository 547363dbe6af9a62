"""Prompts of data sets: file formats, columns and the filters of ``prepare``."""
