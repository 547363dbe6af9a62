"""What the operator asks of the pods of a stage."""
