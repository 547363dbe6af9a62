"""What the pods of a stage report."""
