"""The decision on a run, which ``cluster.execute`` carries out in the order of its fields."""

from dataclasses import dataclass

from fusionrun.api.contract import Manifest
from fusionrun.api.status.run import FusionRunStatus
from fusionrun.state.observe.object_ref import ObjectRef
from fusionrun.state.report.events import Event


@dataclass(frozen=True)
class Decision:
    """Create missing objects, write the status, post the events, then delete.

    If the status cannot be written, no object is deleted. An existing object counts as created, a missing one as
    deleted.
    """

    create: tuple[Manifest, ...] = ()
    status: FusionRunStatus | None = None
    """None if the status does not change."""
    delete: tuple[ObjectRef, ...] = ()
    """Pods here are lost (``lost_pods``) and are force-deleted. Other pods are deleted with their workload."""
    events: tuple[Event, ...] = ()
    list_pods: tuple[ObjectRef, ...] = ()
    """Ended workloads whose pods must be listed. If there are any, list them and decide again."""
    requeue_seconds: float | None = None
    """Reconcile again after this time, even if nothing changes; None waits for the next event or resync."""

    @property
    def only_records(self) -> bool:
        """Whether it only writes digests to the status; the next decision creates the objects that wait for them."""
        others = self.create or self.delete or self.events or self.list_pods
        return self.status is not None and not others and self.requeue_seconds == 0.0
