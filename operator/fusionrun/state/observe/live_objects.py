"""What the rim hands to the centre: the run and its children as the API server has them, and a few facts."""

from dataclasses import dataclass, field
from datetime import datetime

from fusionrun.api.models import Manifest
from fusionrun.api.result import Progress


@dataclass(frozen=True, order=True, slots=True)
class ObjectRef:
    """A Kubernetes object by kind and name; ``namespace`` is empty for a cluster-wide one."""

    api_version: str
    kind: str
    namespace: str
    name: str


@dataclass(frozen=True)
class Pushed:
    """Progress that a pod pushed, and when it arrived."""

    progress: Progress
    at: datetime


@dataclass(frozen=True)
class Refusal:
    """Why the API server did not create an object: its HTTP status and its message."""

    status: int
    """0 when there was no reply."""
    message: str
    transient: bool = False
    """Whether the request failed rather than was refused (429, 5xx, no reply): the first retries come fast."""

    @property
    def for_good(self) -> bool:
        """Whether the object itself is at fault, so that no patience helps; a quota or a namesake may go."""
        return self.status in _MALFORMED


_MALFORMED = frozenset({400, 413, 422})
"""Bad request (a webhook's refusal, too), request too large, invalid."""


@dataclass(frozen=True)
class Live:
    """Everything that ``observe`` reads of one run."""

    run: Manifest
    """The FusionRun object, with status."""
    children: tuple[Manifest, ...] = ()
    """Jobs, PyTorchJobs, Deployments, Services, ConfigMaps and Pods that carry the run's label."""
    present: dict[ObjectRef, bool] = field(default_factory=dict)
    """Which prerequisites (``state.prerequisites``) exist."""
    pushed: dict[tuple[str, int], Pushed] = field(default_factory=dict)
    """By stage name and pod index (0 where the stage is not indexed)."""
    log_tails: dict[str, str] = field(default_factory=dict)
    """Last log lines of failed pods, by pod name."""
    warnings: dict[str, str] = field(default_factory=dict)
    """Reason and message of the newest Warning event of objects whose pods do not run, by the object's UID."""
    refused: dict[ObjectRef, Refusal] = field(default_factory=dict)
    """Objects that this very reconcile has tried to create in vain."""
    pods_listed: frozenset[ObjectRef] = frozenset()
    """Workloads whose pods this very reconcile has listed: a result that is missing is lost, not late."""
