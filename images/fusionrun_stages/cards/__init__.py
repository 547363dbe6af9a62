"""The published cards: the model card, and the data set's card in Markdown and as an HTML page."""
