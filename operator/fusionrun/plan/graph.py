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
        If a stage needs one that is absent or comes later, if two stages have the same name, or if a server could start
        before its client can: its GPUs would be idle.
    """
    earlier: dict[str, Stage] = {}
    for stage in stages:
        if stage.name in earlier:
            raise PlanError(f"stage {stage.name!r} is planned twice")
        for name in (*stage.needs, *([stage.server] if stage.server else [])):
            if name not in earlier:
                raise PlanError(f"stage {stage.name!r} needs {name!r}, which does not come before it")
        if stage.server and (more := {*stage.needs} - {*earlier[stage.server].needs}):
            raise PlanError(f"stage {stage.name!r} needs {sorted(more)}, which its server does not wait for")
        earlier[stage.name] = stage


def needed(plan: Plan, complete: frozenset[str]) -> frozenset[str]:
    """Return the stages that must run, given the stages whose artifacts are complete.

    The goals of the run are required: data set, final model, scores and publication. A required stage without a
    complete artifact must run, and the stages that it needs are required, too. A required stage with a report runs even
    if its artifact is complete, to fill the status; it then requires no other stage. A check of the conditions of other
    stages runs only if one of them has to.
    """
    consumed = {name for s in plan.stages for name in (*s.inputs, *s.after)}
    ends = {s.name for s in plan.stages if s.traits.has_artifact and s.name not in consumed and not s.protects}
    required = {s.name for s in plan.stages if s.traits.is_goal} | ends
    must_run: set[str] = {stage_name(StageKind.RESOLVE)}
    for stage in reversed(plan.stages):
        if stage.name not in required or (stage.protects and must_run.isdisjoint(stage.protects)):
            continue
        if stage.name not in complete:
            required.update(stage.needs, [stage.server] if stage.server else [])
        if stage.name not in complete or stage.traits.report:
            must_run.add(stage.name)
    return frozenset(must_run)
