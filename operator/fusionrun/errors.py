"""The errors of FusionRun, one tree.

::

    FusionRunError
    ├── SpecError(field, value, rule)        the user's: what is wrong in the object, and where
    ├── PlanError                            ours: a plan that cannot be
    ├── ContractError(version, field)        pod and operator do not understand each other
    └── ClusterError(verb, kind, name, ...)  the API server refused or did not answer

A failed stage is not an exception: it is a stage state with a reason. This module knows neither kopf nor
the Kubernetes client, so that the centre can raise these anywhere.
"""


class FusionRunError(Exception):
    """Base of all our errors."""


class SpecError(FusionRunError):
    """A FusionRun that breaks a rule: names the field, the value and the rule."""

    def __init__(self, field: str, value: object, rule: str) -> None:
        self.field = field
        self.value = value
        self.rule = rule
        super().__init__(f"{field}: {value!r}: {rule}")


class PlanError(FusionRunError):
    """A plan that contradicts itself: a bug of ours, never the user's."""


class ContractError(FusionRunError):
    """A message between pod and operator that the reader cannot understand."""

    def __init__(self, version: object, field: str) -> None:
        self.version = version
        self.field = field
        super().__init__(f"contract version {version!r}: cannot read {field}")


class ClusterError(FusionRunError):
    """A request that the API server refused, or that never reached it.

    Attributes
    ----------
    status
        The HTTP status, or 0 when there was no reply.
    retryable
        Whether the same request may succeed later (429, 5xx, no reply).
    """

    def __init__(self, verb: str, kind: str, name: str, status: int, message: str = "") -> None:
        self.verb = verb
        self.kind = kind
        self.name = name
        self.status = status
        self.retryable = status in (0, 429) or status >= 500  # noqa: PLR2004
        super().__init__(f"{verb} {kind} {name}: {status} {message}".rstrip())
