"""The decision on one run: pure, from what is live and the time to what to do. Read this room's files from here.

Applied to its own result it asks for nothing: what it creates is named by what it is for, a finished stage stays
finished, and the status it wants is the status that it finds.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime

from pydantic import ValidationError

from fusionrun import __version__
from fusionrun.api.models import Manifest
from fusionrun.api.status import ConditionType, FusionRunStatus, Reason, StageState, StageStatus, read_status
from fusionrun.errors import ContractError, SpecError
from fusionrun.plan.build import build_plan
from fusionrun.plan.checks import check_spec
from fusionrun.plan.graph import needed
from fusionrun.plan.pinned import PinnedPlan
from fusionrun.settings import Settings
from fusionrun.state import conditions
from fusionrun.state.conclude import conclude
from fusionrun.state.decision import Decision
from fusionrun.state.events import events
from fusionrun.state.expiry import expired
from fusionrun.state.frozen import Acceptance, acceptance, accepted_by, resolution
from fusionrun.state.live import Live, ObjectRef
from fusionrun.state.lost import lost_pods
from fusionrun.state.observe import Observed, observe, ref_of
from fusionrun.state.prerequisites import Missing, every_stage, missing, over_budget
from fusionrun.state.summary import seen_again, summary
from fusionrun.state.told import AT_WORK, idle
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
    before = read_status(live.run.get("status"))
    known = _Known(live, observe(live), before, settings, now)
    if any(c.type is ConditionType.FINISHED and c.status == "True" for c in before.conditions):
        return _rests(known)
    try:
        accepted = acceptance(live, known.observed, settings.images)
    except ValidationError as error:
        unreadable = _refused if accepted_by(live, known.observed) is None else _too_old
        return unreadable(known, _first_error(error))
    # A run at work was checked by the operator that accepted it; a newer one's checks are for newer runs.
    errors = check_spec(accepted.spec) if accepted.is_new else []
    if errors:
        return _refused(known, "; ".join(f"spec.{e}" for e in errors)[:2000])
    try:
        return _advance(known, accepted)
    except ContractError as error:
        return _too_old(known, error.field)


def _advance(known: _Known, accepted: Acceptance) -> Decision:
    """Walk over the plan and put together what it found."""
    run, spec = known.live.run["metadata"], accepted.spec
    plan = accepted.adopt(build_plan(spec))
    layout = PinnedPlan(run["namespace"], run["name"], run["uid"], spec, plan, (), {})
    found = resolution(known.live, known.observed, layout)
    if found is not None:
        layout = replace(layout, pins=found.pins, digests=found.digests)
    to_keep = [accepted.to_keep(layout)] if accepted.is_new else [found.to_keep] if found and found.to_keep else []
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
        pods_listed=known.live.pods_listed,
    )
    walk.run()
    wanted = conclude(walk, known.before)
    ends = any(kind is ConditionType.FINISHED and holds for kind, holds, _, _ in wanted)
    # A suspended run is accepted when it is resumed, with the images and stages of the operator of that time.
    waits = any(m.holds is every_stage for m in walk.missing) or (accepted.is_new and spec.suspend)
    kept = [] if ends or waits else to_keep
    lost, next_lost = lost_pods(known.observed, known.now)
    if next_lost is not None:
        walk.look_again(next_lost)
    status = summary(known.before, wanted, known.generation, known.now, walk)
    return Decision(
        # Stages share a NetworkPolicy: it is created once.
        create=tuple({ref_of(m): m for m in (*kept, *walk.create)}.values()),
        status=_changed(known, status),
        delete=tuple(dict.fromkeys([*walk.delete, *lost])),
        events=tuple(events(known.before, status)),
        list_pods=tuple(walk.list_pods),
        requeue_seconds=0.0 if ends else walk.requeue_seconds,
    )


def _missing(
    known: _Known, accepted: Acceptance, layout: PinnedPlan, to_keep: Iterable[Manifest]
) -> tuple[Missing, ...]:
    """Return what is waited for: by the stages that need it, and before acceptance by all, so that no GPU idles."""
    found = missing(layout.namespace, accepted.spec, known.live.present)
    if accepted.is_new:
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
    new = tuple(events(known.before, status))
    again = 0.0 if known.live.children else None  # to delete them in time
    return Decision(status=status, delete=_alive(known.observed), events=new, requeue_seconds=again)


def _too_old(known: _Known, problem: str) -> Decision:
    """Wait for a newer operator: the run goes on there, so nothing of it is deleted here unless it is suspended."""
    version = accepted_by(known.live, known.observed) or "0.1.0"
    message = (
        f"the operator is FusionRun {__version__} and cannot continue this run, which FusionRun {version} accepted: "
        f"{problem}: upgrade the operator; until then nothing is started or deleted"
    )
    if known.live.run["spec"].get("suspend"):
        wanted = conditions.suspended(Reason.SUSPENDED, f"spec.suspend is true; {message}")
        status = summary(known.before, wanted, known.generation, known.now)
        status = status.model_copy(update={"stages": [_suspended(s) for s in status.stages], "stage": None})
        return Decision(status=_changed(known, status), delete=_alive(known.observed))
    wanted = conditions.in_progress(message, Reason.OPERATOR_TOO_OLD)
    status = summary(known.before, wanted, known.generation, known.now)
    status = status.model_copy(update={"gpus_in_use": known.before.gpus_in_use})
    return Decision(status=_changed(known, status), events=tuple(events(known.before, status)))


def _suspended(stage: StageStatus) -> StageStatus:
    if stage.state not in AT_WORK and stage.state is not StageState.WAITING:
        return stage
    return idle(stage, stage, StageState.PENDING, Reason.SUSPENDED, "suspended")


def _changed(known: _Known, status: FusionRunStatus) -> FusionRunStatus | None:
    return None if status == known.before else status


def _rests(known: _Known) -> Decision:
    """Delete what still runs of a finished run, and what it has kept for long enough."""
    seen = known.before.observed_generation == known.generation
    status = None if seen else seen_again(known.before, known.generation)
    due, next_due = expired(known.live, known.before, known.now)
    delete = tuple(dict.fromkeys([*_alive(known.observed), *due]))
    return Decision(status=status, delete=delete, requeue_seconds=next_due)


def _alive(observed: Observed) -> tuple[ObjectRef, ...]:
    return tuple(ref for seen in observed.stages.values() for ref in still_alive(seen))


def _first_error(error: ValidationError) -> str:
    """Say where a spec is wrong, and what the rule is."""
    first = error.errors()[0]
    field = ".".join(str(part) for part in first["loc"])
    unknown = f"FusionRun {__version__} has no such field: correct its name, or upgrade the operator"
    rule = unknown if first["type"] == "extra_forbidden" else first["msg"]
    return str(SpecError(f"spec.{field}", first.get("input"), rule))[:1000]
