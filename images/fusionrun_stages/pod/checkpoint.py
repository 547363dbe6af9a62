"""The newest complete checkpoint that this process knows, for the result of a pod that fails.

The operator compares it with that of the attempt before: a training that progresses is retried without a limit. It is
kept in memory, because a pod that fails must not wait for a volume that hangs.
"""

_complete: list[int] = []


def record(step: int) -> None:
    """Record that the checkpoint of a step is complete."""
    _complete.append(step)


def newest() -> int | None:
    """Return the step of the newest complete checkpoint; None if there is none."""
    return max(_complete, default=None)
