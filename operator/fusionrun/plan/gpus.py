"""How GPUs are recognised and counted in the resources of a container."""

from collections.abc import Mapping
from typing import TypeVar

from fusionrun.api.models import Resources

GPU_SUFFIX = "/gpu"
"""End of the name of a resource that is a whole GPU, such as ``nvidia.com/gpu``."""

T = TypeVar("T")


def gpu_limits(limits: Mapping[str, T] | None) -> dict[str, T]:
    """Return the limits that are GPUs, by the name of the resource."""
    return {name: value for name, value in (limits or {}).items() if name.endswith(GPU_SUFFIX)}


def is_whole(value: int | str) -> bool:
    """Return whether a quantity is a whole number, written in digits."""
    return isinstance(value, int) or value.isdecimal()


def gpu_count(resources: Resources | None) -> int:
    """Return the number of GPUs of a container. ``plan.checks`` reports a limit that is not a whole number."""
    limits = gpu_limits(resources.limits if resources else None)
    return sum(int(value) for value in limits.values() if is_whole(value))
