"""The only ears: kopf's watches poke runs, and each run is reconciled by one task at a time."""
