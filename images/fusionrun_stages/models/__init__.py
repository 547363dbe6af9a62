"""Files, chat template and attention of a model folder."""
