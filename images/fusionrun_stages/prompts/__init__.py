"""Read prompts from data sets: file formats, columns, and what ``prepare`` filters out."""
