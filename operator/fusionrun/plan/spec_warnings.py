"""Fields of a valid spec that do not have the effect that their user expects. The run is accepted.

``lint`` and ``plan`` print the warnings, and the operator posts an event for each when it accepts the run.
"""

from collections.abc import Iterator

from fusionrun.api.spec import FusionRunSpec
from fusionrun.errors import SpecError
from fusionrun.plan.pods import has_price
from fusionrun.plan.stages import Plan
from fusionrun.settings import Settings

MAX_COST = "budget.maxCost"


def spec_warnings(spec: FusionRunSpec, plan: Plan, settings: Settings) -> list[SpecError]:
    """Return a warning for each such field of a spec that has all defaults."""
    return [*_unpriced_budget(spec, plan, settings)]


def _unpriced_budget(spec: FusionRunSpec, plan: Plan, settings: Settings) -> Iterator[SpecError]:
    limit = spec.budget.max_cost if spec.budget else None
    if limit is not None and not any(has_price(spec, settings, stage) for stage in plan.stages):
        rule = (
            "has no effect: no price of the operator (Helm value accelerators.prices) matches the pods of the run, and "
            "no endpoint has prices: set prices, or limit budget.maxGpuHours"
        )
        yield SpecError(MAX_COST, limit, rule)
