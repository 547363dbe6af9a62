"""Fields of a valid spec that do not have the effect that their user expects, or not in every namespace.

The run is accepted. ``lint`` and ``plan`` print the warnings, and the operator posts an event for each when it accepts
the run.
"""

from collections.abc import Iterator

from fusionrun.api.spec.pods import PodSettings
from fusionrun.api.spec.run import FusionRunSpec
from fusionrun.errors import SpecError
from fusionrun.plan.pods import has_price, parts
from fusionrun.plan.stages import Plan
from fusionrun.settings import Settings

MAX_COST = "budget.maxCost"


def spec_warnings(written: FusionRunSpec, spec: FusionRunSpec, plan: Plan, settings: Settings) -> list[SpecError]:
    """Return a warning for each such field of a spec; ``written`` is the spec without the defaults."""
    return [*_unpriced_budget(spec, plan, settings), *_rates_of_adapters(written, spec), *_locked_memory(spec)]


def _unpriced_budget(spec: FusionRunSpec, plan: Plan, settings: Settings) -> Iterator[SpecError]:
    limit = spec.budget.max_cost if spec.budget else None
    if limit is not None and not any(has_price(spec, settings, stage) for stage in plan.stages):
        rule = (
            "has no effect: no price of the operator (Helm value accelerators.prices) matches the pods of the run, and "
            "no endpoint has prices: set prices, or limit budget.maxGpuHours"
        )
        yield SpecError(MAX_COST, limit, rule)


def _rates_of_adapters(written: FusionRunSpec, spec: FusionRunSpec) -> Iterator[SpecError]:
    """Warn of the recipe's learning rates with LoRA. Source of the other rate: QLoRA (arXiv 2305.14314)."""
    if spec.training.lora is None or spec.evaluate_only is not None:
        return
    for stage in ("sft", "dpo"):
        if getattr(written.training, stage).learning_rate is None:
            rule = (
                "is the recipe's default for all weights, with which the adapters of training.lora hardly change: set "
                f"training.{stage}.learningRate, such as 2e-4 (docs/training.md)"
            )
            yield SpecError(f"training.{stage}.learningRate", getattr(spec.training, stage).learning_rate, rule)


def _locked_memory(spec: FusionRunSpec) -> Iterator[SpecError]:
    """Warn of pods that some namespaces refuse. Without ``policy.ipcLock``, the policy refuses the run before.

    Source: Kubernetes, "Pod Security Standards": *baseline* does not list IPC_LOCK under Capabilities, and *restricted*
    allows only NET_BIND_SERVICE.
    """
    for part in parts(spec):
        if isinstance(part.settings, PodSettings) and part.settings.ipc_lock:
            rule = (
                "adds the capability IPC_LOCK, which the baseline and restricted Pod Security Standards refuse: no pod "
                "of this part is created if the namespace enforces one of them. Use a namespace that enforces neither "
                "(docs/operations.md)"
            )
            yield SpecError(f"{part.field}.ipcLock", value=True, rule=rule)
