"""How accelerators are recognised and counted in the resources of a container.

A *device* is one unit of an extended resource. Two counts are made of it:

- torch sees whole GPUs, whose resource ends in ``/gpu``. The task of a pod and the checks of the spec need this number.
- The settings of the operator (``Settings.accelerators``) say which devices count as GPUs or as parts of one. GPU time,
  ``gpuBudget``, ``gpusInUse`` and costs depend on these.
"""

import re
from collections.abc import Mapping
from decimal import ROUND_UP, Decimal
from fnmatch import fnmatchcase
from typing import TypeVar

from fusionrun.api.spec.resources import Resources
from fusionrun.settings import Accelerators

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
    """Return the number of whole GPUs of a container. ``plan.checks`` reports a limit that is not a whole number."""
    limits = gpu_limits(resources.limits if resources else None)
    return sum(int(value) for value in limits.values() if is_whole(value))


def for_one_gpu(resources: Resources | None) -> Resources | None:
    """Return the part of a container's resources that belongs to one of its whole GPUs.

    CPUs and memory are divided by the number of GPUs. Other devices, such as those of RDMA, serve pods that train
    together, and are left out. Without GPUs, the resources are unchanged.
    """
    count = gpu_count(resources)
    if resources is None or not count:
        return resources

    def part(values: Mapping[str, int | str] | None) -> dict[str, int | str] | None:
        if values is None:
            return None
        kept = {n: v for n, v in values.items() if "/" not in n}
        divided = {n: _divided(v, count) if n in ("cpu", "memory") else v for n, v in kept.items()}
        return {**{n: 1 for n, v in gpu_limits(values).items() if str(v) != "0"}, **divided}

    return Resources(requests=part(resources.requests), limits=part(resources.limits))


def _divided(quantity: int | str, parts: int) -> str:
    """Return a part of a quantity, rounded up. Kubernetes allows no CPU quantity below 1m."""
    number, suffix = re.fullmatch(r"\+?([0-9.]+)(.*)", str(quantity)).groups()  # type: ignore[union-attr] # the schema
    step = Decimal(1) if suffix in ("m", "u", "n") else Decimal("0.001")
    return f"{(Decimal(number) / parts).quantize(step, ROUND_UP).normalize():f}{suffix}"


def devices_of(resources: Resources | None) -> dict[str, int]:
    """Return the devices of a container, by its part of the spec."""
    return devices(resources.limits if resources else None)


def devices(limits: Mapping[str, int | str] | None) -> dict[str, int]:
    """Return the devices of a container: its whole numbers of extended resources, whose names have a domain."""
    found = {name: str(value) for name, value in (limits or {}).items() if "/" in name}
    return {name: int(count) for name, count in found.items() if count.isdecimal() and int(count)}


def gpus_of(held: Mapping[str, int], accelerators: Accelerators) -> float:
    """Return how many GPUs some devices count as."""
    return sum(count * _gpus_each(name, accelerators) for name, count in held.items())


def _gpus_each(name: str, accelerators: Accelerators) -> float:
    matching = [pattern for pattern in accelerators.gpus if fnmatchcase(name, pattern)]
    return accelerators.gpus[max(matching, key=len)] if matching else 0


def cost_per_hour(
    held: Mapping[str, int], node_selector: Mapping[str, str] | None, accelerators: Accelerators
) -> float:
    """Return the price of some devices for an hour, in a pod with a node selector."""
    return sum(count * _price(name, node_selector or {}, accelerators) for name, count in held.items())


def _price(name: str, node_selector: Mapping[str, str], accelerators: Accelerators) -> float:
    for price in accelerators.prices:
        labels = price.node_selector.items()
        if fnmatchcase(name, price.resource) and all(
            key in node_selector and fnmatchcase(node_selector[key], value) for key, value in labels
        ):
            return price.per_hour
    return 0
