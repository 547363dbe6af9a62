"""Which of the stages that wait for GPUs, or for a server to end, start now, and what the others wait for.

The rest of the run is scheduled with the expected time of each stage, and those that start now by the schedule start.
The schedule is made anew in each decision, from what runs then, and is not stored. So a stage that takes longer than
expected, or another release of the operator, only changes what starts next.

No stage waits for ever. While nothing runs, the first stage of the schedule starts. What is late, or refused by the API
server, is expected to take as long again as it is late: the time that is kept for a stage moves away, until smaller
stages fit before it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import inf

from fusionrun.plan.schedule import GPU_TOLERANCE
from fusionrun.plan.stages import Stage
from fusionrun.state.decide.context import Context, Outcomes
from fusionrun.state.decide.limits import is_limited
from fusionrun.state.decide.remaining import Remaining
from fusionrun.state.decide.waits import LISTED, about


@dataclass(frozen=True)
class Order:
    """The order of the stages that could start now but for the limits."""

    start: tuple[Stage, ...] = ()
    """Those that start now. Together they are within the limits."""
    messages: Mapping[str, str] = field(default_factory=dict)
    """What each of the others waits for, by name."""


def order(context: Context, outcomes: Outcomes) -> Order:
    """Return the order, given the decisions on all stages."""
    queued = [s for s in context.pinned.plan.stages if outcomes.stages[s.name].queued]
    if not queued:
        return Order()
    remaining = Remaining(context, outcomes)
    starts = remaining.starts() if any(remaining.have_room([stage]) for stage in queued) else {}
    chosen: list[Stage] = []
    for stage in queued:
        if starts.get(stage.name, inf) <= 0 and remaining.have_room([*chosen, stage]):
            chosen.append(stage)
    return Order(tuple(chosen), {s.name: _message(remaining, s, starts) for s in queued if s not in chosen})


def _message(remaining: Remaining, stage: Stage, starts: Mapping[str, float]) -> str:
    """Return which limit a stage waits for, because of which other stages, and until about when."""
    scheduling, use = remaining.context.pinned.spec.scheduling, remaining.use
    gpus, free = remaining.context.gpus(stage), remaining.limits.gpus - use.gpus
    if stage.traits.is_server and not remaining.limits.allow(0, len(use.servers) + 1):
        text = f"spec.scheduling.maxServers: {scheduling.max_servers}: {len(use.servers)} servers are running"
        return text + _ends(remaining, dict.fromkeys(use.servers, 1.0), 1, "runs")
    if not remaining.have_room([stage]):
        text = f"spec.scheduling.gpuBudget: {scheduling.gpu_budget}: the stage needs {_gpus(gpus)}"
        return f"{text}, {use.gpus:g} are in use" + _ends(remaining, use.active, gpus - free, "holds")
    return _kept(remaining, stage, starts)


def _ends(remaining: Remaining, held: Mapping[str, float], lacking: float, verb: str) -> str:
    """Return which stages are expected to end first, until what they hold suffices."""
    now, left = remaining.context.now, {name: remaining.left(name) for name, amount in held.items() if amount}
    texts: list[str] = []
    for name in sorted(left, key=lambda name: left[name] or inf):
        seconds = left[name]
        if lacking <= GPU_TOLERANCE or seconds is None or len(texts) == LISTED:
            break
        amount = f" {held[name]:g}" if verb == "holds" else ""
        texts.append(f"{name} {verb}{amount} until about {about(now, seconds)}")
        lacking -= held[name]
    return f": {', '.join(texts)}" if texts else ""


def _kept(remaining: Remaining, stage: Stage, starts: Mapping[str, float]) -> str:
    """Return for which later stage there would be no room if a stage with room started now."""
    context, end = remaining.context, remaining.expected[stage.name]
    later = [s for s in context.pinned.plan.stages if is_limited(context, s) and 0 < starts.get(s.name, inf) < end]
    if others := [s for s in later if s.name != stage.name]:
        first = min(others, key=lambda s: (-context.gpus(s), starts[s.name]))
        time = about(context.now, starts[first.name])
        needs = f" with {_gpus(gpus)}" if (gpus := context.gpus(first)) else ""
        return f"spec.scheduling: there is room, but {first.name}{needs} is to start about {time}"
    return f"spec.scheduling: it is expected to start about {about(context.now, starts.get(stage.name, 0))}"


def _gpus(count: float) -> str:
    return f"{count:g} GPU" if count == 1 else f"{count:g} GPUs"
