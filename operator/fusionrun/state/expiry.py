"""When the objects of a finished run are deleted: some time after its end, those of a failed stage later."""

from datetime import datetime, timedelta

from fusionrun.api.models import Manifest
from fusionrun.api.spec import DEFAULT_TTL_SECONDS, FAILED_STAGE_TTL_FACTOR
from fusionrun.api.status import FusionRunStatus, StageState
from fusionrun.names import LABEL_STAGE, stage_from_label
from fusionrun.state.live import Live, ObjectRef
from fusionrun.state.observe import parse_time, ref_of

_STAYS = ("Pod", "NetworkPolicy")


def expired(live: Live, status: FusionRunStatus, now: datetime) -> tuple[list[ObjectRef], float | None]:
    """Return the objects to delete now, and in how many seconds the next one is due.

    Parameters
    ----------
    live, status
        The run and its status. Nothing is due of a run that has not finished.
    now
        The time, in UTC.

    Notes
    -----
    Pods go with the workload that owns them. NetworkPolicies stay for as long as the run: they isolate pods that may
    still be ending, or that run on a lost node. So do the ConfigMaps of the run itself (``RUN-spec`` and
    ``RUN-resolved``): they say with which defaults, images and inputs it was made.
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
        stage = _stage(child)
        if child["kind"] in _STAYS or (child["kind"] == "ConfigMap" and stage is None):
            continue
        if child["metadata"].get("deletionTimestamp"):
            continue
        left = (ended + keep * (FAILED_STAGE_TTL_FACTOR if stage in failed else 1) - now).total_seconds()
        if left <= 0:
            due.append(ref_of(child))
        else:
            later.append(left)
    return due, min(later, default=None)


def _stage(child: Manifest) -> str | None:
    label = child["metadata"].get("labels", {}).get(LABEL_STAGE)
    return stage_from_label(label) if label else None
