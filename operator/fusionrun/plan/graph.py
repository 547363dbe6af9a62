"""What depends on what: order, digests, and which stages have to run at all. Knows names and edges only."""

from collections.abc import Iterable, Mapping

from fusionrun.api.artifacts import stage_digest
from fusionrun.api.stage import PlannedStage, StageKind
from fusionrun.errors import PlanError
from fusionrun.plan.stages import REPORTING, Plan, Stage


def check_order(stages: Iterable[Stage]) -> None:
    """Check that every stage comes after those it needs, so that there is no cycle.

    Raises
    ------
    PlanError
        If a stage needs one that is absent or comes later, or a name stands twice.
    """
    seen: set[str] = set()
    for stage in stages:
        if stage.name in seen:
            raise PlanError(f"stage {stage.name!r} stands twice")
        for name in (*stage.needs, *([stage.server] if stage.server else [])):
            if name not in seen:
                raise PlanError(f"stage {stage.name!r} needs {name!r}, which does not come before it")
        seen.add(stage.name)


def digests(stages: Iterable[PlannedStage], pins: list[str]) -> dict[str, str]:
    """Compute every artifact's digest from the pinned references.

    Parameters
    ----------
    stages
        In plan order, so that inputs come first.
    pins
        Fingerprint per reference of the plan.
    """
    found: dict[str, str] = {}
    for stage in stages:
        found[stage.name] = stage_digest(
            stage.parameters_digest, (pins[i] for i in stage.pins), (found[n] for n in stage.inputs)
        )
    return found


def needed(plan: Plan, complete: frozenset[str]) -> frozenset[str]:
    """Return the stages that have to run, given the artifacts that are complete.

    Demand runs backwards: what the run is for (data set, final model, scores, publication) is wanted; a wanted stage
    whose artifact is complete is not run, and so wants nothing itself. A reporting stage is run all the same,
    since it answers at once, but wants nothing either.
    """
    consumed = {name for s in plan.stages for name in (*s.inputs, *s.after)}
    ends = REPORTING | {StageKind.PROMOTE}
    wanted = {s.name for s in plan.stages if s.kind in ends or (s.has_artifact and s.name not in consumed)}
    run: set[str] = {"resolve"}
    for stage in reversed(plan.stages):
        if stage.name not in wanted:
            continue
        if stage.name in complete:
            if stage.kind in REPORTING:
                run.add(stage.name)
            continue
        run.add(stage.name)
        wanted.update(stage.needs)
        if stage.server:
            wanted.add(stage.server)
    return frozenset(run)


def ready(plan: Plan, done: Mapping[str, bool]) -> list[Stage]:
    """Return, in plan order, the stages whose every need is done and that are not done themselves."""
    return [s for s in plan.stages if not done.get(s.name) and all(done.get(n) for n in s.needs)]
