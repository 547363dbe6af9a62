"""The input of a decision: the run and its objects as the API server has them, with progress, logs and warnings."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from fusionrun.api.contract import Manifest
from fusionrun.api.results.result import Progress
from fusionrun.plan.pod_size import NodeGpus
from fusionrun.state.observe.object_ref import ObjectRef
from fusionrun.state.observe.run_cache import RunCache


@dataclass(frozen=True)
class PushedProgress:
    """Progress that a pod pushed, and when it arrived."""

    progress: Progress
    at: datetime
    pod: str = ""
    """UID of the pod."""
    first_done: int = 0
    """What was done when the pod first pushed: a resumed stage does not start at 0."""
    since: datetime | None = None
    """When the pod first pushed; None if it is not known."""


@dataclass(frozen=True)
class Refusal:
    """Why the API server did not create an object."""

    status: int
    """HTTP status of the reply; 0 without a reply."""
    message: str
    transient: bool = False
    """Whether the request failed (429, 5xx, no reply) and was not refused: it is retried sooner."""

    @property
    def is_permanent(self) -> bool:
        """Whether the object itself is invalid. A quota or an object of the same name may change."""
        return self.status in _INVALID_OBJECT


_INVALID_OBJECT = frozenset({400, 413, 422})
"""Bad Request (also of an admission webhook), Content Too Large, Unprocessable Content."""


@dataclass(frozen=True)
class OtherWorkload:
    """A workload of another run with the same claim, for an artifact that this run has, too."""

    run: Manifest
    workload: Manifest
    pods: tuple[Manifest, ...] = ()
    """Its pods; none if it has succeeded."""


@dataclass(frozen=True)
class LiveObjects:
    """One run and its objects, with their progress, logs and warnings."""

    run: Manifest
    """The FusionRun with its status."""
    children: tuple[Manifest, ...] = ()
    """Objects with the run's label: the kinds of ``cluster.gather.CHILDREN``."""
    present: dict[ObjectRef, bool] = field(default_factory=dict)
    """Which prerequisites (``state.decide.prerequisites``) exist."""
    pushed: dict[tuple[str, int], PushedProgress] = field(default_factory=dict)
    """Progress by stage name and completion index; the index is 0 for a stage without shards."""
    log_tails: dict[str, str] = field(default_factory=dict)
    """Last log lines of failed pods, by pod name."""
    warnings: dict[str, str] = field(default_factory=dict)
    """Reason and message of the latest Warning event, by UID of the object, for objects whose pods do not run."""
    kueue: dict[str, Manifest | None] = field(default_factory=dict)
    """Kueue's Workload of each object that waits in a queue or may be ignored, by the UID of the object; None if it has
    none."""
    refused: dict[ObjectRef, Refusal] = field(default_factory=dict)
    """Objects that this reconcile could not create."""
    others: tuple[OtherWorkload, ...] = ()
    """Workloads of other runs for artifacts of this run."""
    work: Mapping[str, int] = field(default_factory=dict)
    """Seconds of stages of finished runs of the namespace, by the hash of their work (``plan.work``)."""
    nodes: tuple[NodeGpus, ...] = ()
    """Nodes with GPUs; empty if they were not looked up, as after ``resolve``."""
    pods_listed: frozenset[ObjectRef] = frozenset()
    """Workloads whose pods this reconcile has listed: a result that is still missing is lost."""
    cache: RunCache = field(default_factory=RunCache, compare=False, repr=False)
    """Values that earlier decisions on the run have computed."""
