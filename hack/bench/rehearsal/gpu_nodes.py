"""Nodes with GPUs and a scheduler, which binds each pod to a node with room for it.

Pods with a higher priority come first, then those that were created first. As in Kubernetes, a pod that fits no node is
passed over. Nothing is preempted.
"""

from collections.abc import Callable
from dataclasses import dataclass

GPUS_PER_NODE = 8


@dataclass(eq=False)
class Pod:
    """A pod, and how long it has held GPUs. All times are seconds from the start of the rehearsal."""

    gpus: int
    is_server: bool
    priority: int
    on_bound: Callable[["Pod"], None]
    node: int = -1
    bound: float = 0.0
    ready: float | None = None
    """Start of its work: of its program, or Ready."""
    released: float | None = None


class Nodes:
    """The nodes, and all pods with GPUs so far.

    Parameters
    ----------
    pack
        Whether a pod gets the node with the fewest free GPUs that suffice; else that with the most.
    """

    def __init__(self, count: int, *, pack: bool = True) -> None:
        self.free = [GPUS_PER_NODE] * count
        self.pods: list[Pod] = []
        self._pending: list[Pod] = []
        self._pack = pack

    def add(self, pod: Pod) -> None:
        self.pods.append(pod)
        self._pending.append(pod)

    def release(self, pod: Pod, now: float) -> None:
        """Let a pod end, or be deleted before it was bound."""
        if pod in self._pending:
            self._pending.remove(pod)
            self.pods.remove(pod)
        elif pod.released is None:
            self.free[pod.node] += pod.gpus
            pod.released = now

    def bind(self, now: float) -> list[Pod]:
        """Bind the pods for which there is room, and return them."""
        bound = []
        for pod in sorted(self._pending, key=lambda pod: -pod.priority):
            fitting = [node for node, free in enumerate(self.free) if free >= pod.gpus]
            if fitting:
                pod.node = min(fitting, key=lambda node: (self.free[node] if self._pack else -self.free[node], node))
                self.free[pod.node] -= pod.gpus
                self._pending.remove(pod)
                pod.bound = now
                bound.append(pod)
        return bound
