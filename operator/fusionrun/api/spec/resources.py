"""Compute resources of a container."""

from typing import Annotated

from pydantic import Field

from fusionrun.api.contract import Contract

Quantity = (
    Annotated[
        str,
        Field(
            pattern=r"^\+?([0-9]+(\.[0-9]*)?|\.[0-9]+)([KMGTPE]i|[numkMGTPE]|[eE][+-]?[0-9]+)?$",
            max_length=32,
        ),
    ]
    | Annotated[int, Field(ge=0)]
)
"""A non-negative Kubernetes quantity. Source: k8s.io/apimachinery, pkg/api/resource (quantity.go)."""


class Resources(Contract):
    """Compute resources of a container."""

    requests: Annotated[dict[str, Quantity], Field(max_length=16)] | None = None
    """Minimum amount of each resource, such as ``cpu``, ``memory`` or ``nvidia.com/gpu``. If omitted for a resource,
    Kubernetes uses its limit."""
    limits: Annotated[dict[str, Quantity], Field(max_length=16)] | None = None
    """Maximum amount of each resource. GPUs must be whole numbers. If omitted for a resource, it has no limit."""
