"""The exceptions of FusionRun.

::

    FusionRunError
    ├── SpecError(field, value, rule)        user error: the spec violates a rule
    ├── PlanError                            bug: the plan is inconsistent
    ├── ContractError(version, field)        operator and pod, or two releases, are incompatible
    ├── ClusterError(verb, kind, name, ...)  a request to the API server failed
    └── NotLeaderError                       another operator may act, so this one must not

A failed stage is not an exception: it is a stage state with a reason.
"""


class FusionRunError(Exception):
    """Base class of all exceptions of FusionRun."""


class SpecError(FusionRunError):
    """A spec that violates a rule: the field, its value and the rule."""

    def __init__(self, field: str, value: object, rule: str) -> None:
        self.field = field
        self.value = value
        self.rule = rule
        super().__init__(f"{field}: {value!r}: {rule}")


class PlanError(FusionRunError):
    """An inconsistent plan, which is a bug and not a user error."""


class ContractError(FusionRunError):
    """Data from a pod or from another release that cannot be used."""

    def __init__(self, version: object, field: str) -> None:
        self.version = version
        self.field = field
        super().__init__(f"contract version {version!r}: cannot read {field}")


class NotLeaderError(FusionRunError):
    """A write that was not sent, because this process does not hold the Lease of the operator any more."""


class ClusterError(FusionRunError):
    """A request that the API server rejected, or that got no reply.

    Attributes
    ----------
    status
        The HTTP status, or 0 without a reply.
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
