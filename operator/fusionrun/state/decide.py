"""The decision on one run: pure, from what is live and the time to what to do. Read this room's files from here.

Applied to its own result it asks for nothing: what it creates is named by what it is for, a finished stage stays
finished, and the status it wants is the status that it finds.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from pydantic import ValidationError

from fusionrun import names
from fusionrun.api.models import Manifest
from fusionrun.api.spec import MUTABLE_FIELDS, FusionRunSpec
from fusionrun.api.status import (
    Artifacts,
    ConditionType,
    FusionRunStatus,
    Reason,
    StageState,
    StageStatus,
)
from fusionrun.errors import SpecError
from fusionrun.objects import meta
from fusionrun.plan.build import build_plan
from fusionrun.plan.checks import check_spec
from fusionrun.plan.defaults import fill
from fusionrun.plan.graph import digests, needed
from fusionrun.plan.layout import Layout
from fusionrun.settings import Images, Settings
from fusionrun.state import conditions, results
from fusionrun.state.conditions import Wanted, set_conditions, stamp
from fusionrun.state.decision import Decision, Event
from fusionrun.state.live import Live
from fusionrun.state.observe import Observed, Phase, observe, parse_time
from fusionrun.state.prerequisites import first_missing, over_budget
from fusionrun.state.walk import AT_WORK, DONE, Walk, still_alive

SECONDS_PER_HOUR = 3600
_MUTABLE = tuple(name for name, field in FusionRunSpec.model_fields.items() if (field.alias or name) in MUTABLE_FIELDS)


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
    if _holds(before, ConditionType.FINISHED):
        return _cleaned_up(known)
    try:
        spec = fill(FusionRunSpec.model_validate(live.run["spec"]))
    except ValidationError as error:
        return _ended(known, Reason.INVALID_SPEC, _first_error(error))
    errors = check_spec(spec)
    if errors:
        return _ended(known, Reason.INVALID_SPEC, "; ".join(f"spec.{e}" for e in errors)[:2000])
    missing = first_missing(live.run["metadata"]["namespace"], spec, live.present)
    if not missing and not before.stages:  # said before anything is asked for; a budget lowered later only waits
        missing = over_budget(build_plan(spec), spec)
    if missing:
        wanted = conditions.in_progress(missing[1], missing[0])
        status = _status(known, wanted, before.stages)
        return _decision(known, status, requeue_seconds=settings.missing_seconds)
    return _advance(known, *_frozen(known, spec))


def _frozen(known: _Known, spec: FusionRunSpec) -> tuple[FusionRunSpec, Images, list[Manifest]]:
    """Return the spec and the images as they were at acceptance, and the ConfigMap to create if it is not there."""
    run = known.live.run["metadata"]
    name = names.spec_config_map(run["name"])
    data = known.observed.config_maps.get(name)
    if data is None:
        data = {
            "spec.json": json.dumps(spec.model_dump(mode="json", by_alias=True, exclude_none=True), sort_keys=True),
            "images.json": json.dumps(vars(known.settings.images), sort_keys=True),
        }
        owner = meta.Run(run["namespace"], run["name"], run["uid"], spec)
        return spec, known.settings.images, [meta.config_map(owner, name, meta.run_labels(owner), data)]
    accepted = FusionRunSpec.model_validate_json(data["spec.json"])
    accepted = accepted.model_copy(update={field: getattr(spec, field) for field in _MUTABLE})
    images = json.loads(data["images.json"])
    return accepted, Images(**{**images, "pull_secrets": tuple(images["pull_secrets"])}), []


def _advance(known: _Known, spec: FusionRunSpec, images: Images, create: list[Manifest]) -> Decision:
    """Walk over the plan and put together what it found."""
    run = known.live.run["metadata"]
    layout = Layout(run["namespace"], run["name"], run["uid"], spec, build_plan(spec), (), {})
    pins, complete, resolved = _resolution(known, layout)
    if pins is not None:
        planned = layout.plan.planned()
        layout = replace(layout, pins=tuple(pins), digests=digests(planned, pins))
    walk = Walk(
        layout=layout,
        observed=known.observed,
        previous={s.name: s for s in known.before.stages},
        needed=None if pins is None else needed(layout.plan, complete),
        complete=complete,
        settings=replace(known.settings, images=images),
        now=known.now,
        benchmarks=list(known.before.results),
        dataset=known.before.dataset,
    )
    walk.run()
    wanted = _conclude(known, spec, walk)
    artifacts = _artifacts(layout, walk)
    status = _status(known, wanted, list(walk.statuses.values()), walk, artifacts)
    return _decision(
        known,
        status,
        create=[*create, *resolved, *walk.create] if not _holds(status, ConditionType.FINISHED) else [],
        walk=walk,
        requeue_seconds=walk.requeue_seconds,
    )


def _resolution(known: _Known, layout: Layout) -> tuple[list[str] | None, frozenset[str], list[Manifest]]:
    """Return the pins, the names of complete stages, and the ConfigMap that keeps both, if it is to be made."""
    name = names.resolved_config_map(layout.run)
    data = known.observed.config_maps.get(name)
    if data is not None:
        return json.loads(data["pins.json"]), frozenset(json.loads(data["complete.json"])), []
    workload = known.observed.stage("resolve").latest
    if workload is None or workload.phase is not Phase.SUCCEEDED or not workload.results:
        return None, frozenset(), []
    result = workload.results[0]
    if len(result.pins) != len(layout.plan.references):
        return None, frozenset(), []
    planned = layout.plan.planned()
    complete = sorted(planned[i].name for i in result.complete)
    owner = meta.Run(layout.namespace, layout.run, layout.uid, layout.spec)
    made = meta.config_map(owner, name, meta.run_labels(owner), {
        "pins.json": json.dumps(result.pins), "complete.json": json.dumps(complete),
    })  # fmt: skip
    return result.pins, frozenset(complete), [made]


def _conclude(known: _Known, spec: FusionRunSpec, walk: Walk) -> list[Wanted]:
    """Return the conditions that follow from a walk; stop what has to stop."""
    if walk.failed:
        name, failure = walk.failed[0]
        message = f"stage {name} failed: {failure.message}"
        walk.stop(Reason.STAGE_FAILED, f"stopped, since stage {name} failed; what is finished is kept")
        return conditions.failed(Reason.STAGE_FAILED, message)
    if all(s.state in DONE for s in walk.statuses.values()):
        return [*conditions.complete("the fused model is made and measured"), _gate_condition(spec, walk)]
    deadline = spec.active_deadline_seconds
    started = parse_time(known.before.start_time)
    if deadline and started and known.now - started > timedelta(seconds=deadline):
        walk.stop(Reason.DEADLINE_EXCEEDED, "stopped at the deadline; what is finished is kept")
        text = f"spec.activeDeadlineSeconds: {deadline}: the run took longer; a new run reuses what is finished"
        return conditions.failed(Reason.DEADLINE_EXCEEDED, text)
    if spec.suspend:
        walk.stop(Reason.SUSPENDED, "suspended")
        return conditions.suspended(Reason.SUSPENDED, "spec.suspend is true: set it to false to go on")
    spent = sum(s.gpu_seconds or 0 for s in walk.statuses.values()) / SECONDS_PER_HOUR
    limit = spec.budget.max_gpu_hours if spec.budget else None
    if limit is not None and spent >= limit:
        walk.stop(Reason.BUDGET_EXCEEDED, "suspended by the budget")
        text = f"spec.budget.maxGpuHours: {limit:g}: {spent:.2f} GPU hours are spent: raise it to go on"
        return conditions.suspended(Reason.BUDGET_EXCEEDED, text)
    at_work = [n for n, s in walk.statuses.items() if s.state in AT_WORK]
    waiting = [f"{n}: {s.message}" for n, s in walk.statuses.items() if s.state is StageState.WAITING and s.message]
    text = f"at work: {', '.join(at_work)}" if at_work else "; ".join(waiting)
    return conditions.in_progress(text or "about to start")


def _gate_condition(spec: FusionRunSpec, walk: Walk) -> Wanted:
    if not spec.evaluation.gate:
        return ConditionType.EVALUATION_PASSED, None, Reason.NO_GATE, "spec.evaluation.gate names no condition"
    failures = results.gate_failures(spec.evaluation, walk.benchmarks)
    if failures:
        return ConditionType.EVALUATION_PASSED, False, Reason.EVALUATION_FAILED, "; ".join(failures)
    return ConditionType.EVALUATION_PASSED, True, Reason.EVALUATION_PASSED, "every gate is passed"


def _ended(known: _Known, reason: Reason, message: str) -> Decision:
    """Fail a run whose spec can never work."""
    return _decision(known, _status(known, conditions.failed(reason, message), known.before.stages))


def _cleaned_up(known: _Known) -> Decision:
    """Delete what still runs of a finished run; change nothing else."""
    return Decision(delete=tuple(ref for seen in known.observed.stages.values() for ref in still_alive(seen)))


def _artifacts(layout: Layout, walk: Walk) -> Artifacts | None:
    unmade = (Reason.GATE_FAILED, Reason.NO_LONGER_NEEDED)
    done = {n for n, s in walk.statuses.items() if s.state in DONE and s.reason not in unmade}
    if not layout.digests or not {"construct", "sft", "promote"} & done:
        return None
    publish = layout.spec.publish
    return Artifacts(
        dataset=layout.artifact("construct") if "construct" in done else None,
        sft_model=layout.artifact("sft", "model") if "sft" in done else None,
        model=layout.artifact("promote", "model") if "promote" in done else None,
        published=publish.uri if publish and "publish" in done else None,
    )


def _status(
    known: _Known,
    wanted: Sequence[Wanted],
    stages: Sequence[StageStatus],
    walk: Walk | None = None,
    artifacts: Artifacts | None = None,
) -> FusionRunStatus:
    before = known.before
    finished = any(kind is ConditionType.FINISHED and holds for kind, holds, _, _ in wanted)
    done = sum(s.state in DONE for s in stages)
    plan = walk.layout.plan if walk else None
    held = sum(plan[s.name].gpus for s in stages if s.state in AT_WORK) if plan else 0
    spent = sum(s.gpu_seconds or 0 for s in stages)
    return FusionRunStatus(
        observed_generation=known.generation,
        conditions=set_conditions(before.conditions, wanted, known.generation, known.now),
        stages=list(stages),
        results=walk.benchmarks if walk else before.results,
        dataset=walk.dataset if walk else before.dataset,
        artifacts=artifacts or before.artifacts,
        start_time=before.start_time or stamp(known.now),
        completion_time=(before.completion_time or stamp(known.now)) if finished else None,
        stage=_headline(stages),
        progress=f"{done}/{len(stages)}" if stages else None,
        gpus_in_use=held,
        gpu_seconds=spent or None,
    )


def _headline(stages: Sequence[StageStatus]) -> str | None:
    """Name the stages at work, or the failed one, in at most 60 characters."""
    failed = [s.name for s in stages if s.state is StageState.FAILED]
    at_work = [s.name for s in stages if s.state is StageState.RUNNING] or [
        s.name for s in stages if s.state is StageState.READY
    ]
    text = ", ".join(failed or at_work)
    limit = 60
    return (text if len(text) <= limit else text[: limit - 1] + "…") or None


def _decision(
    known: _Known,
    status: FusionRunStatus,
    create: Sequence[Manifest] = (),
    walk: Walk | None = None,
    requeue_seconds: float | None = None,
) -> Decision:
    return Decision(
        create=tuple(create),
        status=None if status == known.before else status,
        delete=tuple(dict.fromkeys(walk.delete)) if walk else (),
        events=tuple(_events(known.before, status)),
        requeue_seconds=requeue_seconds,
    )


def _events(before: FusionRunStatus, after: FusionRunStatus) -> list[Event]:
    old = {s.name: s for s in before.stages}
    found = []
    for stage in after.stages:
        was = old[stage.name].state if stage.name in old else StageState.PENDING
        retried = stage.name in old and (stage.attempt or 0) > (old[stage.name].attempt or 0)
        if retried:
            found.append(Event("Warning", Reason.STAGE_RETRIED, f"{stage.name}: {stage.message}"))
        elif stage.state is was:
            continue
        elif stage.state is StageState.FAILED:
            found.append(Event("Warning", Reason.STAGE_FAILED, f"{stage.name}: {stage.reason}: {stage.message}"))
        elif stage.state is StageState.SUCCEEDED:
            found.append(Event("Normal", Reason.STAGE_SUCCEEDED, stage.name))
        elif stage.state is StageState.RUNNING and was is not StageState.READY:
            found.append(Event("Normal", Reason.STAGE_STARTED, f"{stage.name}: {stage.object_ref}"))
    ready = {c.type: c for c in before.conditions}.get(ConditionType.READY)
    for condition in after.conditions:
        if condition.type is ConditionType.READY and (ready is None or ready.reason != condition.reason):
            bad = condition.status == "False" and condition.reason not in (Reason.STAGES_RUNNING, Reason.SUSPENDED)
            found.append(
                Event("Warning" if bad else "Normal", Reason(condition.reason), condition.message or "accepted")
            )
    return found


def _holds(status: FusionRunStatus, kind: ConditionType) -> bool:
    return any(c.type is kind and c.status == "True" for c in status.conditions)


def _first_error(error: ValidationError) -> str:
    """Say where a spec is wrong, and what the rule is."""
    first = error.errors()[0]
    field = ".".join(str(part) for part in first["loc"])
    return str(SpecError(f"spec.{field}", first.get("input"), first["msg"]))[:1000]
