"""What ``decide`` answers: a value, to be carried out by ``cluster.execute`` in the order of its fields."""

from dataclasses import dataclass
from typing import Literal

from fusionrun.api.models import Manifest
from fusionrun.api.status import FusionRunStatus, Reason
from fusionrun.state.observe.live_objects import ObjectRef


@dataclass(frozen=True)
class Event:
    """A Kubernetes event on the run."""

    type: Literal["Normal", "Warning"]
    reason: Reason
    message: str


@dataclass(frozen=True)
class Decision:
    """Create what is missing, write the status once, post the events, then delete.

    If the status write fails nothing is deleted. An object that exists already counts as created; one that is
    gone counts as deleted.
    """

    create: tuple[Manifest, ...] = ()
    status: FusionRunStatus | None = None
    """None when the status is right as it is."""
    delete: tuple[ObjectRef, ...] = ()
    """A pod among them is lost (``state.lost``) and deleted by force; every other ends with its workload."""
    events: tuple[Event, ...] = ()
    list_pods: tuple[ObjectRef, ...] = ()
    """Workloads that have ended, and whose pods must be listed before this decides on them: decide again then."""
    requeue_seconds: float | None = None
    """Look again after so long even if nothing changes; None leaves it to the resync."""
