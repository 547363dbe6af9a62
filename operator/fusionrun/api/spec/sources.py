"""Fields of a FusionRun on the source models."""

from enum import StrEnum
from typing import Annotated

from pydantic import Field

from fusionrun.api.contract import Contract
from fusionrun.api.spec.endpoints import Endpoint
from fusionrun.api.spec.models import Name, Sampling
from fusionrun.api.spec.servers import Served


class SourceType(StrEnum):
    """Where a source's responses come from."""

    SERVED = "Served"
    ENDPOINT = "Endpoint"
    DATASET = "Dataset"


class Source(Contract):
    """A source model, whose responses become training data."""

    name: Name
    """Unique name of the source. Reserved: ``target``, ``reward`` and names that start with ``eval-``."""
    type: SourceType = SourceType.SERVED
    """Where the responses come from: Served (a model that the run serves with vLLM), Endpoint (an OpenAI-compatible
    endpoint) or Dataset (columns of the data sets)."""
    served: Served | None = None
    """The model that the run serves with vLLM while a stage needs it. Required for type Served, forbidden otherwise."""
    endpoint: Endpoint | None = None
    """The OpenAI-compatible endpoint outside the run. Required for type Endpoint, forbidden otherwise."""
    sampling: Sampling | None = None
    """Sampling parameters of the requests. Not used for type Dataset."""
    system_prompt: Annotated[str, Field(max_length=8192)] | None = None
    """System prompt of the requests. Training rows do not contain it. If omitted, requests have no system prompt."""
