"""The base class of every model that operator, pods and API server exchange.

The reader may be of another release than the writer: an operator is upgraded or rolled back while the pods, ConfigMaps
and status of its runs stay. So a reader ignores unknown fields. What a user writes is validated by the CRD's schema
and, once, when the run is accepted (``state.observe.accepted_run``): there, an unknown field is an error.

The default of a released field never changes: a task leaves out fields that have their defaults.
"""

from typing import Any

from pydantic import BaseModel, ConfigDict
from pydantic.alias_generators import to_camel


class Contract(BaseModel):
    """A frozen model: snake_case in Python, camelCase in JSON, and unknown fields ignored."""

    model_config = ConfigDict(
        frozen=True,
        extra="ignore",
        alias_generator=to_camel,
        validate_by_name=True,
        validate_by_alias=True,
        serialize_by_alias=True,
        protected_namespaces=(),
        use_attribute_docstrings=True,
    )


Manifest = dict[str, Any]
"""A Kubernetes object as plain data."""
