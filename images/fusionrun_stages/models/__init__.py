"""Model folders: files, chat template and attention."""
