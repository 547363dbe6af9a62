"""Which of the two ConfigMaps of a run are believed: ``RUN-spec`` and ``RUN-resolved``.

Whoever may create ConfigMaps can create one with the name, the labels and the owner of the operator's. Only the
operator may write ``status``. It therefore writes the digest of a ConfigMap's data to the status before it creates the
ConfigMap, and reads only data with that digest.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass

from fusionrun import names
from fusionrun.api.contract import Manifest
from fusionrun.api.stage import StageKind
from fusionrun.api.status.run import FusionRunStatus
from fusionrun.api.status.stages import StageState
from fusionrun.state.observe.observed import Observed
from fusionrun.state.observe.run_cache import RunCache

_NOT_STARTED = (StageState.PENDING, StageState.WAITING)
_DONE = (StageState.SUCCEEDED, StageState.SKIPPED)


@dataclass(frozen=True)
class Frozen:
    """The data of the ConfigMaps that are believed; None for one that does not exist or is not believed."""

    spec: dict[str, str] | None
    resolved: dict[str, str] | None


def frozen(run: Manifest, observed: Observed, status: FusionRunStatus, cache: RunCache | None = None) -> Frozen:
    """Return the data that the status confirms.

    Notes
    -----
    0.2.0 wrote no digests, and after a rollback it removes them. If the status has none and shows that a stage has run,
    the run was accepted by 0.2.0, and its ConfigMaps are believed once; the next status has their digests. What
    somebody put there before that is not noticed.
    """
    name = run["metadata"]["name"]
    spec = observed.config_maps.get(names.spec_config_map(name))
    resolved = observed.config_maps.get(names.resolved_config_map(name))
    if status.spec_digest is None:
        return Frozen(
            spec if has_started(status) else None,
            resolved if _state(status, StageKind.RESOLVE) in _DONE else None,
        )
    digests = [_digest(name, data, cache or RunCache()) for name, data in (("spec", spec), ("resolved", resolved))]
    return Frozen(
        spec if digests[0] == status.spec_digest else None,
        resolved if digests[1] is not None and digests[1] == status.resolved_digest else None,
    )


def _digest(name: str, data: dict[str, str] | None, cache: RunCache) -> str | None:
    return None if data is None else cache.get(f"digest of {name}", (data,), lambda: data_digest(data))


def data_digest(data: Mapping[str, str]) -> str:
    """Return the digest of a ConfigMap's data."""
    return hashlib.sha256(json.dumps(data, sort_keys=True).encode()).hexdigest()


def has_started(status: FusionRunStatus, *, after_resolve: bool = False) -> bool:
    """Return whether a stage has run, or with ``after_resolve`` another one than ``resolve``."""
    return any(
        s.state not in _NOT_STARTED and not (after_resolve and s.name == StageKind.RESOLVE) for s in status.stages
    )


def _state(status: FusionRunStatus, name: str) -> StageState | None:
    return next((s.state for s in status.stages if s.name == name), None)
