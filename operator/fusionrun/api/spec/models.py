"""Fields of a FusionRun on models: their names, where they are stored and how they are sampled."""

from typing import Annotated

from pydantic import Field

from fusionrun.api.contract import Contract

Name = Annotated[str, Field(pattern=r"^[a-z]([-a-z0-9]*[a-z0-9])?$", min_length=1, max_length=24)]
"""A DNS-1035 label of at most 24 characters, since object names contain it."""

Revision = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._/-]*$", max_length=128)]
Uri = Annotated[
    str,
    Field(pattern=r"^(hf://[A-Za-z0-9._-]+/[A-Za-z0-9._-]+|(pvc|s3)://[a-z0-9][a-z0-9.-]*/.+)$", max_length=512),
]
"""``hf://org/name``, ``pvc://claim/path`` (a path on the run's claim) or ``s3://bucket/key``."""


class Model(Contract):
    """A model and its revision."""

    uri: Uri
    """Location of the model: ``hf://org/name`` on the hub, ``pvc://claim/path`` on the run's claim, or
    ``s3://bucket/prefix``."""
    revision: Revision | None = None
    """Commit, branch or tag, for ``hf://``. A branch or tag is pinned to its commit when the run starts. If omitted,
    the branch ``main`` is used."""
    trust_remote_code: bool = False
    """Allow Python code from the model's repository to run. The revision must then be a 40-digit commit."""


class Sampling(Contract):
    """Sampling parameters of the requests, as in vLLM."""

    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    """Sampling temperature; 0 is greedy decoding."""
    top_p: Annotated[float, Field(gt=0, le=1)] | None = None
    """Cumulative probability of the most likely tokens that are considered."""
    top_k: Annotated[int, Field(ge=-1, le=1000)] | None = None
    """Number of the most likely tokens that are considered; -1 considers all tokens."""
    repetition_penalty: Annotated[float, Field(gt=0, le=2)] | None = None
    """Penalty for tokens that the prompt or the response already contains; 1 is no penalty."""
    max_tokens: Annotated[int, Field(ge=1, le=32768)] | None = None
    """Maximum length of a response, in tokens. Truncated responses are not used for training."""
