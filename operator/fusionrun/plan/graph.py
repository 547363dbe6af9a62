"""Dependencies between stages: their order, and which of them must run. Uses names and edges only."""

from collections.abc import Iterable

from fusionrun.api.stage import StageKind
from fusionrun.errors import PlanError
from fusionrun.plan.stages import Plan, Stage, stage_name


def check_order(stages: Iterable[Stage]) -> None:
    """Check that every stage comes after those that it needs, so that there is no cycle.

    Raises
    ------
    PlanError
        If a stage needs one that is absent or comes later, or if two stages have the same name.
    """
    seen: set[str] = set()
    for stage in stages:
        if stage.name in seen:
            raise PlanError(f"stage {stage.name!r} is planned twice")
        for name in (*stage.needs, *([stage.server] if stage.server else [])):
            if name not in seen:
                raise PlanError(f"stage {stage.name!r} needs {name!r}, which does not come before it")
        seen.add(stage.name)


def needed(plan: Plan, complete: frozenset[str]) -> frozenset[str]:
    """Return the stages that must run, given the stages whose artifacts are complete.

    Demand runs backwards from the goals of the run (data set, final model, scores, publication). A stage on which
    there is demand runs and passes the demand on to the stages that it needs, unless its artifact is complete. A stage
    with a report runs even if its artifact is complete, to fill the status, but passes no demand on.
    """
    consumed = {name for s in plan.stages for name in (*s.inputs, *s.after)}
    wanted = {s.name for s in plan.stages if s.traits.is_goal or (s.traits.has_artifact and s.name not in consumed)}
    run: set[str] = {stage_name(StageKind.RESOLVE)}
    for stage in reversed(plan.stages):
        if stage.name not in wanted:
            continue
        if stage.name in complete:
            if stage.traits.report:
                run.add(stage.name)
            continue
        run.add(stage.name)
        wanted.update(stage.needs)
        if stage.server:
            wanted.add(stage.server)
    return frozenset(run)
