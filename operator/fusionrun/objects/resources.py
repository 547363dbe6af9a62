"""The resources of a container."""

import math
from typing import Any

from fusionrun.api.spec.resources import Resources
from fusionrun.plan.gpus import devices_of, gpus_of
from fusionrun.plan.pinned import Feature, Run
from fusionrun.plan.stages import Stage
from fusionrun.settings import Settings


def of_stage(run: Run, stage: Stage, settings: Settings) -> dict[str, Any]:
    """Return the resources of the container of a stage: its own, else those of its kind."""
    of_kind = stage.traits.resources
    return of_part(run, stage.resources or (of_kind(run.spec) if of_kind else None), settings)


def of_part(run: Run, from_spec: Resources | None, settings: Settings) -> dict[str, Any]:
    """Return the resources that a part of the spec sets, else the defaults of the operator.

    A container with GPUs and without CPUs in the spec gets ``cpu_request_per_gpu``.
    """
    if from_spec is None:
        return default(settings)
    found = from_spec.model_dump(mode="json", exclude_none=True)
    cpus = math.ceil(settings.cpu_request_per_gpu * gpus_of(devices_of(from_spec), settings.accelerators))
    has_cpus = any("cpu" in part for part in found.values())
    if cpus and not has_cpus and Feature.CPU_REQUESTS in run.features:
        found["requests"] = {"cpu": str(cpus), **found.get("requests", {})}
    return found


def default(settings: Settings) -> dict[str, Any]:
    """Return the resources of a container whose part of the spec sets none."""
    return {"requests": dict(settings.default_requests), "limits": dict(settings.default_limits)}
