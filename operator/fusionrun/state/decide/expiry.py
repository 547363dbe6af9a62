"""When the objects of a finished run are deleted: after a time to live, later for those of a failed stage."""

from datetime import datetime, timedelta

from fusionrun.api.spec import DEFAULT_TTL_SECONDS
from fusionrun.api.status import FusionRunStatus, StageState
from fusionrun.state.observe.live_objects import LiveObjects
from fusionrun.state.observe.object_fields import is_deleting, parse_time, stage_of
from fusionrun.state.observe.object_ref import ObjectRef, ref_of

FAILED_STAGE_FACTOR = 7
"""Factor on the time to live for the objects of failed stages: a week by default, so that their logs can be read."""

_KEPT_KINDS = ("Pod", "NetworkPolicy")


def expired(live: LiveObjects, status: FusionRunStatus, now: datetime) -> tuple[list[ObjectRef], float | None]:
    """Return the objects to delete now, and in how many seconds the next one is due.

    Parameters
    ----------
    live, status
        The run and its status. Objects of an unfinished run are never due.
    now
        The time, in UTC.

    Notes
    -----
    Pods are deleted with the workload that owns them. NetworkPolicies stay until the run is deleted: they isolate pods
    that are still terminating, or that run on a lost node. The ConfigMaps of the run itself (``RUN-spec`` and
    ``RUN-resolved``) stay as well: they record its defaults, images and inputs.
    """
    ended = parse_time(status.completion_time)
    if ended is None:
        return [], None
    ttl = live.run["spec"].get("ttlSecondsAfterFinished")
    keep = timedelta(seconds=DEFAULT_TTL_SECONDS if ttl is None else ttl)
    failed = {stage.name for stage in status.stages if stage.state is StageState.FAILED}
    due: list[ObjectRef] = []
    later: list[float] = []
    for child in live.children:
        stage = stage_of(child)
        if child["kind"] in _KEPT_KINDS or (child["kind"] == "ConfigMap" and stage is None) or is_deleting(child):
            continue
        left = (ended + keep * (FAILED_STAGE_FACTOR if stage in failed else 1) - now).total_seconds()
        if left <= 0:
            due.append(ref_of(child))
        else:
            later.append(left)
    return due, min(later, default=None)
