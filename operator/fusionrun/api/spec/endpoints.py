"""Fields of a FusionRun on Secrets and on endpoints outside the run."""

from typing import Annotated

from pydantic import Field

from fusionrun.api.contract import Contract


class SecretKeyRef(Contract):
    """A key of a Secret in the run's namespace."""

    name: Annotated[str, Field(min_length=1, max_length=253)]
    """Name of the Secret."""
    key: Annotated[str, Field(min_length=1, max_length=253)]
    """Key in the Secret's data."""


class SecretRef(Contract):
    """A Secret in the run's namespace."""

    name: Annotated[str, Field(min_length=1, max_length=253)]
    """Name of the Secret."""


class Prices(Contract):
    """Prices of an endpoint per million tokens, in any currency."""

    prompt: Annotated[float, Field(ge=0, le=1_000_000)]
    """Price of a million prompt tokens."""
    completion: Annotated[float, Field(ge=0, le=1_000_000)]
    """Price of a million response tokens."""


class Quota(Contract):
    """Limits on the use of an endpoint by this source.

    Each shard may use an equal part. A stage that reaches a limit fails and keeps its responses. In-flight requests may
    exceed the token and cost limits.
    """

    max_requests: Annotated[int, Field(ge=1)] | None = None
    """Maximum number of responses. If omitted, there is no limit."""
    max_tokens: Annotated[int, Field(ge=1)] | None = None
    """Maximum number of prompt and response tokens. If omitted, there is no limit."""
    max_cost: Annotated[float, Field(gt=0)] | None = None
    """Maximum cost, in the currency of ``prices``. It requires ``prices``. If omitted, there is no limit."""


class ModelEndpoint(Contract):
    """A model that an HTTP server outside the run serves."""

    url: Annotated[str, Field(pattern=r"^https?://[^\s]+$", max_length=512)]
    """Base URL of the requests. For a source and a judge it includes ``/v1``; for a reward model,
    ``/classify`` is appended."""
    model: Annotated[str, Field(min_length=1, max_length=256)]
    """Name of the model in requests."""
    api_key_secret_ref: SecretKeyRef | None = None
    """The API key. If omitted, requests have no key."""


class Endpoint(ModelEndpoint):
    """An OpenAI-compatible endpoint outside the run."""

    prices: Prices | None = None
    """Prices per million tokens, in any currency. If omitted, the cost is not reported."""
    quota: Quota | None = None
    """Limits on the use of the endpoint. Each shard may use an equal part. A stage that reaches a limit fails and keeps
    its responses. In-flight requests may exceed the token and cost limits. If omitted, there is no limit."""
