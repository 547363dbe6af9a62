"""What is, and what next: from live objects to a decision. Pure."""
