"""The base of every model that crosses a boundary: frozen, camelCase outside and snake_case inside.

Another release may be on the other side of the boundary: an operator is upgraded or rolled back while the pods, the
ConfigMaps and the status of its runs stay. So a reader ignores the fields that it does not know. What a user writes is
checked by the CRD's schema and, once, at a run's acceptance (``state.observe.accepted_run``), where an unknown field is
an error.

A field's default never changes once it is released: a writer leaves out of a task what is at its default.
"""

from pydantic import BaseModel, ConfigDict
from pydantic.alias_generators import to_camel


class Contract(BaseModel):
    """A frozen value that ignores unknown fields and reads and writes camelCase."""

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
