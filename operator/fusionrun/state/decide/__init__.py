"""Decision: what a run needs next, from what was observed and the current time. Pure."""
