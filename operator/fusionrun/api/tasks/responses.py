"""The parameters of the stages that generate, judge by rule and score responses."""

from typing import Literal

from fusionrun.api.contract import Contract
from fusionrun.api.spec.endpoints import Prices, Quota
from fusionrun.api.spec.evaluation import Grader
from fusionrun.api.spec.reward import Calibration
from fusionrun.api.stage import StageKind
from fusionrun.api.tasks.harness import HarnessTasks


class SamplingParameters(Contract):
    """Sampling parameters. All are set: vLLM reads a missing one from ``generation_config.json`` of the model."""

    temperature: float
    top_p: float
    top_k: int
    repetition_penalty: float
    max_tokens: int
    stop: list[str] = []


class ServerParameters(Contract):
    """The server that a stage sends requests to, and how."""

    base_url: str
    """With ``/v1``."""
    model: str
    """Name of the model in requests."""
    api_key_env: str | None = None
    external: bool = False
    """Whether it is an external endpoint. Requests then have only fields of the OpenAI API, and none of vLLM."""
    prices: Prices | None = None
    quota: Quota | None = None
    """For all shards together."""
    concurrency: int
    max_concurrency: int | None = None
    """Default: ``concurrency``, which is then fixed."""
    stall_seconds: int


class GenerateParameters(ServerParameters):
    """Request n samples per prompt from a server; shards ``responses/NNNNN-of-NNNNN.parquet``."""

    kind: Literal[StageKind.GENERATE] = StageKind.GENERATE
    source: str
    prompts_dir: str
    solutions_verdicts_dir: str | None = None
    """Verdicts on the reference solutions. Prompts with a wrong one are skipped."""
    shards: int
    samples_per_prompt: dict[str, int]
    """By data set. Prompts of other data sets are skipped."""
    sampling: SamplingParameters
    sampling_by_dataset: dict[str, SamplingParameters] = {}
    """Of the benchmarks whose protocol has sampling parameters of its own."""
    harness: HarnessTasks | None = None
    """Tasks of lm-eval to measure the model on, besides the prompts."""
    system_prompt: str | None = None
    seed: int


class VerifyParameters(Contract):
    """Judge responses by rule; shards ``verdicts/NNNNN-of-NNNNN.parquet`` (rows: ``records.Verdict``)."""

    kind: Literal[StageKind.VERIFY] = StageKind.VERIFY
    grader: Grader
    datasets: list[str]
    source: str
    prompts_dir: str
    responses_dir: str
    shards: int


class RewardEndpointParameters(Contract):
    """A reward model behind an external endpoint (``/classify`` of vLLM)."""

    base_url: str
    model: str
    api_key_env: str | None = None
    concurrency: int
    stall_seconds: int


class ScoreParameters(Contract):
    """Score responses with the reward model; shards ``scores/NNNNN-of-NNNNN.parquet`` (rows: ``records.Score``)."""

    kind: Literal[StageKind.SCORE] = StageKind.SCORE
    source: str
    model_path: str | None = None
    """None if ``endpoint`` is set."""
    trust_remote_code: bool = False
    endpoint: RewardEndpointParameters | None = None
    prompts_dir: str
    responses_dir: str
    shards: int
    batch_size: int
    max_batch_tokens: int | None = None
    """Maximum number of tokens of a batch, with padding; None for no limit."""
    max_length: int
    calibration: Calibration | None = None
