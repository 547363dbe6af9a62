"""Report: the status, conditions and events of a run, from what was observed and decided. Pure."""
