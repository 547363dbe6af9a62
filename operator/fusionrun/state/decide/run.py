"""The decision on one run: from the live objects and the time to what to do next. Start reading ``state`` here.

Applied to its own result, a decision changes nothing: object names are deterministic, a finished stage stays finished,
and the new status equals the one that exists.
"""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from pydantic import ValidationError

from fusionrun import names
from fusionrun.api.contract import Manifest
from fusionrun.api.results.result import StageResult
from fusionrun.api.stage import PREFLIGHT_TRAINING, PREPARE_BENCHMARKS, StageKind
from fusionrun.api.status.conditions import Reason
from fusionrun.api.status.estimate import Estimate
from fusionrun.api.status.run import FusionRunStatus
from fusionrun.errors import ContractError, SpecError
from fusionrun.plan.build import build_plan
from fusionrun.plan.demand import gpu_memory, gpu_memory_of_parts, gpu_of_nodes
from fusionrun.plan.families.prompts import PROMPTS
from fusionrun.plan.pinned import PinnedPlan
from fusionrun.settings import Settings
from fusionrun.state.decide.conclude import conclude
from fusionrun.state.decide.context import Context, Outcomes
from fusionrun.state.decide.decision import Decision
from fusionrun.state.decide.deletions import lost_pods
from fusionrun.state.decide.finished import finished
from fusionrun.state.decide.held import changed, refused, too_old
from fusionrun.state.decide.prerequisites import Missing, every_stage, missing, over_budget
from fusionrun.state.decide.run_input import RunInput
from fusionrun.state.decide.sharing import Shared, share
from fusionrun.state.decide.spec_checks import as_text, errors_of, first_error, violated, warnings
from fusionrun.state.decide.stages import decide_stages, stop
from fusionrun.state.observe.accepted_run import (
    Acceptance,
    Resolution,
    acceptance,
    accepted_by,
    exceeds_config_map,
    resolution,
)
from fusionrun.state.observe.frozen import data_digest, frozen, has_started
from fusionrun.state.observe.live_objects import LiveObjects
from fusionrun.state.observe.object_fields import is_deleting, is_finished
from fusionrun.state.observe.object_ref import ref_of
from fusionrun.state.observe.observed import observe
from fusionrun.state.observe.other_runs import makers
from fusionrun.state.observe.run_cache import known_status
from fusionrun.state.report import summary
from fusionrun.state.report.active_time import trusts_clock
from fusionrun.state.report.expected import EarlyResults, expected
from fusionrun.state.report.gpu_time import gpu_time
from fusionrun.state.report.scores import group_results
from fusionrun.state.report.stage_status import DONE
from fusionrun.state.report.summary import RunReport


def decide(live: LiveObjects, settings: Settings, now: datetime) -> Decision:
    """Decide what one run needs next."""
    if is_deleting(live.run):
        return Decision()
    before = known_status(live.cache, live.run)
    observed = observe(live, before)
    time = gpu_time(before, observed, settings.accelerators, now)
    inputs = RunInput(live, observed, before, frozen(live.run, observed, before, live.cache), settings, now, time)
    if is_finished(live.run):
        return finished(inputs)
    try:
        accepted = _acceptance(inputs)
    except ValidationError as error:
        unreadable = refused if accepted_by(inputs.frozen) is None else too_old
        return unreadable(inputs, first_error(error))
    # An accepted run was checked by the operator that accepted it; the checks of a newer one are for newer runs.
    errors = errors_of(accepted.spec, live, settings) if accepted.is_new else []
    if errors:
        return refused(inputs, as_text(errors))
    try:
        return _advance(inputs, accepted)
    except ContractError as error:
        return too_old(inputs, error.field)


def _acceptance(inputs: RunInput) -> Acceptance:
    """Return the spec, images and stages of a run: of an accepted run from the cache, if nothing has changed."""
    live, frozen, settings = inputs.live, inputs.frozen, inputs.settings
    if frozen.spec is None:
        return acceptance(live, frozen, settings)
    depends_on = (frozen.spec, frozen.resolved, live.run["spec"], settings)
    return live.cache.get("acceptance", depends_on, lambda: acceptance(live, frozen, settings))


def _planned(inputs: RunInput, accepted: Acceptance) -> PinnedPlan:
    """Return the plan of a run, without the result of ``resolve``."""
    metadata, spec = inputs.live.run["metadata"], accepted.spec
    return PinnedPlan(
        metadata["namespace"],
        metadata["name"],
        metadata["uid"],
        spec,
        accepted.adopt(build_plan(spec)),
        (),
        {},
        features=accepted.features,
        publish_endpoint=accepted.publish_endpoint,
        gpu_memory_bytes=gpu_memory(spec, inputs.live.nodes),
        gpu_memory_of_parts=gpu_memory_of_parts(spec, inputs.live.nodes),
    )


def _resolution(inputs: RunInput, pinned: PinnedPlan) -> Resolution | None:
    """Return the result of ``resolve``; from the cache if it is in its ConfigMap."""
    live, frozen = inputs.live, inputs.frozen
    if frozen.resolved is None:
        return resolution(live, inputs.observed, frozen, pinned, inputs.before)
    depends_on = (frozen.resolved, frozen.spec, pinned)
    return live.cache.get(
        "resolution", depends_on, lambda: resolution(live, inputs.observed, frozen, pinned, inputs.before)
    )


def _advance(inputs: RunInput, accepted: Acceptance) -> Decision:
    """Decide on the stages of an accepted run, or accept it."""
    spec, before, cache = accepted.spec, inputs.before, inputs.live.cache
    metadata = inputs.live.run["metadata"]
    pinned = cache.get("plan", (accepted, metadata["uid"], inputs.live.nodes), lambda: _planned(inputs, accepted))
    resolved = _resolution(inputs, pinned)
    config_maps = [resolved.config_map] if resolved and resolved.config_map else []
    if accepted.is_new:
        config_maps = [accepted.config_map(pinned)]
        if text := exceeds_config_map(config_maps[0]):
            return refused(inputs, text)
        accepted = replace(accepted, digest=data_digest(config_maps[0]["data"]))
    if inputs.lacks_spec and accepted.digest != before.spec_digest:
        return changed(inputs, names.spec_config_map)
    if _lost_resolution(before, resolved):
        return changed(inputs, names.resolved_config_map)
    if resolved is not None:
        unpinned, pins, by_stage = pinned, resolved.pins, resolved.digests
        depends_on = (unpinned, pins, by_stage)
        pinned = cache.get("pinned plan", depends_on, lambda: replace(unpinned, pins=pins, digests=by_stage))
    previous, shared = {s.name: s for s in before.stages}, Shared()
    if resolved is not None:
        others = makers(inputs.live.others)
        shared = share(pinned, resolved.complete, inputs.observed, previous, others, inputs.now)
    context = Context(
        pinned=pinned,
        observed=inputs.observed,
        nodes=inputs.live.nodes,
        previous=previous,
        needed=shared.needed,
        complete=shared.complete,
        held_back=shared.held_back,
        missing=_missing(inputs, accepted, pinned, config_maps),
        refused=inputs.live.refused,
        pods_listed=inputs.live.pods_listed,
        settings=cache.get("settings", (inputs.settings, accepted.images), lambda: _with_images(inputs, accepted)),
        now=inputs.now,
        gpu_time=inputs.gpu_time,
        work=inputs.live.work,
        trusts_clock=trusts_clock(before, inputs.now),
        cache=cache,
    )
    context = replace(context, estimate=_estimate(context, before))
    outcomes = decide_stages(context, Outcomes(benchmarks=tuple(before.results), dataset=before.dataset))
    conclusion = conclude(context, outcomes, before)
    if conclusion.stop:
        outcomes = stop(context, outcomes, *conclusion.stop, only=conclusion.stopped)
    ends = summary.is_finished(conclusion.conditions)
    # A suspended run is accepted when it is resumed, with the images and stages of the operator at that time.
    waits = any(m.blocks is every_stage for m in context.missing) or (accepted.is_new and spec.suspend)
    if not (accepted.is_new and (ends or waits)) and (recorded := _record(before, accepted, resolved)) != before:
        # Another reconcile follows at once: no ConfigMap is created before its digest is in the status.
        return Decision(status=recorded, requeue_seconds=0.0)
    lost, next_lost = lost_pods(inputs.observed, inputs.now)
    report = RunReport(
        stages=outcomes.statuses,
        results=list(outcomes.benchmarks),
        groups=group_results(spec, outcomes.benchmarks),
        dataset=outcomes.dataset,
        estimate=context.estimate,
        artifacts=summary.artifacts(pinned, outcomes.statuses),
        training_backend=None if accepted.is_new and (ends or waits) else spec.training.backend.value,
    )
    decided = outcomes.stages.values()
    create = [
        *([] if ends or waits else config_maps),
        *(manifest for outcome in decided for manifest in outcome.create),
    ]
    times = [*(outcome.requeue_seconds for outcome in decided), *conclusion.requeue_seconds, next_lost]
    decision = inputs.report(conclusion.conditions, report)
    warned = warnings(inputs, accepted, pinned.plan) if report.training_backend else []
    return replace(
        decision,
        # Stages share a NetworkPolicy.
        events=tuple(
            dict.fromkeys([*warned, *decision.events, *(event for outcome in decided for event in outcome.events)])
        ),
        create=tuple({ref_of(m): m for m in create}.values()),
        delete=tuple(dict.fromkeys([*(ref for outcome in decided for ref in outcome.delete), *lost])),
        list_pods=tuple(ref for outcome in decided for ref in outcome.list_pods),
        requeue_seconds=0.0 if ends else min((seconds for seconds in times if seconds is not None), default=None),
    )


def _with_images(inputs: RunInput, accepted: Acceptance) -> Settings:
    return replace(inputs.settings, images=accepted.images)


def _estimate(context: Context, before: FusionRunStatus) -> Estimate | None:
    """Return what the run is expected to need; None before ``resolve`` has succeeded."""
    if context.needed is None:
        return before.estimate
    spec, plan = context.pinned.spec, context.pinned.plan
    names = (StageKind.RESOLVE.value, PREFLIGHT_TRAINING, PROMPTS, PREPARE_BENCHMARKS)
    early = EarlyResults(*(_results(context, name) for name in names))
    gpu = gpu_of_nodes(spec, context.nodes)
    return expected(before.estimate, early, spec, plan, context.needed, context.gpu_cost_per_hour, gpu)


def _results(context: Context, name: str) -> Sequence[StageResult]:
    workload = context.observed.stage(name).latest
    return workload.results if workload else ()


def _record(before: FusionRunStatus, accepted: Acceptance, resolved: Resolution | None) -> FusionRunStatus:
    """Return the status with the digests of the ConfigMaps that this decision rests on, and no other change."""
    fields: dict[str, str | list[str] | None] = {"spec_digest": accepted.digest}
    if resolved:
        fields |= {"resolved_digest": resolved.digest, "pins": list(resolved.pins)}
    return before.model_copy(update={name: value for name, value in fields.items() if value})


def _lost_resolution(before: FusionRunStatus, resolved: Resolution | None) -> bool:
    """Return whether stages have used a result of ``resolve`` that is gone, or that differs now."""
    if resolved is None:
        return any(s.name == StageKind.RESOLVE and s.state in DONE for s in before.stages)
    recorded = before.resolved_digest
    return recorded is not None and resolved.digest != recorded and has_started(before, after_resolve=True)


def _missing(
    inputs: RunInput, accepted: Acceptance, pinned: PinnedPlan, config_maps: list[Manifest]
) -> tuple[Missing, ...]:
    """Return the missing prerequisites. Before acceptance every stage waits for them, so that no GPU is idle later."""
    absent = missing(pinned.namespace, accepted.spec, inputs.live.present)
    if accepted.is_new:
        too_large = over_budget(pinned.plan, accepted.spec, inputs.settings.accelerators)
        absent = tuple(replace(m, blocks=every_stage) for m in (*absent, *too_large))
    elif errors := _no_longer_allowed(inputs, accepted):
        text = f"{as_text(errors)}: no stage starts until it is corrected, or create a new run; running pods continue"
        absent = (Missing(Reason.NOT_ALLOWED, text), *absent)
    for manifest in config_maps:  # no stage starts before the ConfigMap that it depends on exists
        refusal = inputs.live.refused.get(ref_of(manifest))
        if refusal:
            absent = (*absent, Missing(Reason.OBJECT_REFUSED, refusal.message))
    return absent


def _no_longer_allowed(inputs: RunInput, accepted: Acceptance) -> list[SpecError]:
    """Return what pods of an accepted run must not be made from.

    All rules and the policy of the operator bound the values that have changed since acceptance.
    """
    policy, cache = inputs.settings.policy, inputs.live.cache
    return cache.get("not allowed", (accepted, policy), lambda: violated(accepted, policy))
