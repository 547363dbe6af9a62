"""How long the stages of finished runs took, from their statuses: no request, and nothing is parsed again."""

from collections.abc import Mapping
from typing import NamedTuple

from fusionrun.api.contract import Manifest
from fusionrun.state.observe.object_ref import ObjectRef, ref_of


class _Stage(NamedTuple):
    ended: str
    """Time in ISO 8601."""
    seconds: int
    run: ObjectRef


class FinishedWork:
    """The latest time of stages with the same work (``plan.work``) in each namespace."""

    def __init__(self) -> None:
        self._latest: dict[str, dict[str, _Stage]] = {}

    def add(self, run: Manifest) -> None:
        """Take the times of a finished run; those of stages that ended later stay."""
        ref = ref_of(run)
        known = self._latest.setdefault(ref.namespace, {})
        for stage in run["status"].get("stages") or []:
            if not (work := stage.get("work")):
                continue
            found = _Stage(stage.get("endTime") or "", work["seconds"], ref)
            if work["digest"] not in known or known[work["digest"]].ended < found.ended:
                known[work["digest"]] = found

    def of(self, namespace: str) -> Mapping[str, int]:
        """Return the seconds by the hash of the work."""
        return {digest: stage.seconds for digest, stage in self._latest.get(namespace, {}).items()}

    def forget(self, run: ObjectRef) -> None:
        """Forget the times of a deleted run."""
        known = self._latest.get(run.namespace, {})
        for digest in [digest for digest, stage in known.items() if stage.run == run]:
            del known[digest]
