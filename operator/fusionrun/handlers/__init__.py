"""Watches and resyncs, which add runs to the work queue; and the operator process."""
