"""From the rows of data sets to prompts."""
