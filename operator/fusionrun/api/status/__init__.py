"""The status of a FusionRun."""
