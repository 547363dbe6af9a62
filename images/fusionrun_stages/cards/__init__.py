"""The cards that are published with a run: of its model and of its data set, as Markdown and as a page with plots."""
