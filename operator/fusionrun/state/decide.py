"""The decision on one run: pure, from what is live and the time to what to do. Read this room's files from here.

Applied to its own result it asks for nothing: what it creates is named by what it is for, a finished stage stays
finished, and the status it wants is the status that it finds.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime

from pydantic import ValidationError

from fusionrun.api.models import Manifest
from fusionrun.api.status import ConditionType, FusionRunStatus, Reason
from fusionrun.errors import SpecError
from fusionrun.plan.build import build_plan
from fusionrun.plan.checks import check_spec
from fusionrun.plan.graph import needed
from fusionrun.plan.layout import Layout
from fusionrun.settings import Settings
from fusionrun.state import conditions
from fusionrun.state.conclude import conclude
from fusionrun.state.decision import Decision
from fusionrun.state.events import events
from fusionrun.state.frozen import Acceptance, acceptance, resolution
from fusionrun.state.live import Live, ObjectRef
from fusionrun.state.lost import lost_pods
from fusionrun.state.observe import Observed, observe, ref_of
from fusionrun.state.prerequisites import Missing, every_stage, missing, over_budget
from fusionrun.state.summary import seen_again, summary
from fusionrun.state.walk import Walk, still_alive


@dataclass(frozen=True)
class _Known:
    """What every step of the chain needs."""

    live: Live
    observed: Observed
    before: FusionRunStatus
    settings: Settings
    now: datetime

    @property
    def generation(self) -> int:
        return int(self.live.run["metadata"].get("generation") or 0)


def decide(live: Live, settings: Settings, now: datetime) -> Decision:
    """Decide what one run needs next.

    Parameters
    ----------
    live
        The run and its children as the API server has them.
    settings
        The operator's own.
    now
        The time, in UTC; nothing here looks at a clock.
    """
    if live.run["metadata"].get("deletionTimestamp"):
        return Decision()
    before = FusionRunStatus.model_validate(live.run.get("status") or {})
    known = _Known(live, observe(live), before, settings, now)
    if any(c.type is ConditionType.FINISHED and c.status == "True" for c in before.conditions):
        return _rests(known)
    try:
        accepted = acceptance(live, known.observed, settings.images)
    except ValidationError as error:
        return _refused(known, _first_error(error))
    # A run at work was checked by the operator that accepted it; a newer one's checks are for newer runs.
    errors = check_spec(accepted.spec) if accepted.to_keep else []
    if errors:
        return _refused(known, "; ".join(f"spec.{e}" for e in errors)[:2000])
    return _advance(known, accepted)


def _advance(known: _Known, accepted: Acceptance) -> Decision:
    """Walk over the plan and put together what it found."""
    run, spec = known.live.run["metadata"], accepted.spec
    layout = Layout(run["namespace"], run["name"], run["uid"], spec, build_plan(spec), (), {})
    found = resolution(known.live, known.observed, layout)
    if found is not None:
        layout = replace(layout, pins=found.pins, digests=found.digests)
    to_keep = [m for m in (accepted.to_keep, found.to_keep if found else None) if m]
    complete = found.complete if found else frozenset()
    walk = Walk(
        layout=layout,
        observed=known.observed,
        previous={s.name: s for s in known.before.stages},
        needed=None if found is None else needed(layout.plan, complete),
        complete=complete,
        missing=_missing(known, accepted, layout, to_keep),
        refused=known.live.refused,
        settings=replace(known.settings, images=accepted.images),
        now=known.now,
        benchmarks=list(known.before.results),
        dataset=known.before.dataset,
    )
    walk.run()
    wanted = conclude(walk, known.before)
    ends = any(kind is ConditionType.FINISHED and holds for kind, holds, _, _ in wanted)
    kept = [] if ends or any(m.holds is every_stage for m in walk.missing) else to_keep
    lost, next_lost = lost_pods(known.observed, known.now)
    if next_lost is not None:
        walk.look_again(next_lost)
    status = summary(known.before, wanted, known.generation, known.now, walk)
    return Decision(
        create=(*kept, *walk.create),
        status=None if status == known.before else status,
        delete=tuple(dict.fromkeys([*walk.delete, *lost])),
        events=tuple(events(known.before, status)),
        requeue_seconds=walk.requeue_seconds,
    )


def _missing(known: _Known, accepted: Acceptance, layout: Layout, to_keep: Iterable[Manifest]) -> tuple[Missing, ...]:
    """Return what is waited for: by the stages that need it, and before acceptance by all, so that no GPU idles."""
    found = missing(layout.namespace, accepted.spec, known.live.present)
    if accepted.to_keep:
        found = tuple(replace(m, holds=every_stage) for m in (*found, *over_budget(layout.plan, accepted.spec)))
    for manifest in to_keep:  # nothing starts before what it starts from is kept
        refusal = known.live.refused.get(ref_of(manifest))
        if refusal:
            found = (*found, Missing(Reason.OBJECT_REFUSED, refusal.message))
    return found


def _refused(known: _Known, message: str) -> Decision:
    """Fail a run whose spec can never work."""
    wanted = conditions.failed(Reason.INVALID_SPEC, message)
    status = summary(known.before, wanted, known.generation, known.now)
    return Decision(status=status, delete=_alive(known.observed), events=tuple(events(known.before, status)))


def _rests(known: _Known) -> Decision:
    """Delete what still runs of a finished run; all that may change is which state of its object was seen."""
    seen = known.before.observed_generation == known.generation
    status = None if seen else seen_again(known.before, known.generation)
    return Decision(status=status, delete=_alive(known.observed))


def _alive(observed: Observed) -> tuple[ObjectRef, ...]:
    return tuple(ref for seen in observed.stages.values() for ref in still_alive(seen))


def _first_error(error: ValidationError) -> str:
    """Say where a spec is wrong, and what the rule is."""
    first = error.errors()[0]
    field = ".".join(str(part) for part in first["loc"])
    return str(SpecError(f"spec.{field}", first.get("input"), first["msg"]))[:1000]
