"""The newest complete checkpoint that this process knows, for the result of a pod that fails.

The operator compares it with that of the attempt before: a training that progresses is retried without a limit. It is
kept in memory, because a pod that fails must not wait for a volume that hangs.
"""

_newest: int | None = None


def record(step: int) -> None:
    """Record that the checkpoint of a step is complete."""
    global _newest
    _newest = step


def newest() -> int | None:
    """Return the step of the newest complete checkpoint; None if there is none."""
    return _newest
