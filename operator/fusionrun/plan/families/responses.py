"""Stages that generate responses: ``serve`` runs the model server of a source, ``generate`` sends it the prompts."""

from dataclasses import dataclass
from typing import Any

from fusionrun.api import artifacts
from fusionrun.api.pod import API_KEY_ENV
from fusionrun.api.spec.data import Dataset
from fusionrun.api.spec.endpoints import ModelEndpoint
from fusionrun.api.spec.models import Sampling
from fusionrun.api.spec.run import FusionRunSpec
from fusionrun.api.spec.servers import ServerSettings
from fusionrun.api.spec.sources import Source, SourceType
from fusionrun.api.stage import StageKind, TemplateName
from fusionrun.api.tasks.responses import GenerateParameters, SamplingParameters
from fusionrun.errors import PlanError
from fusionrun.plan import recipe
from fusionrun.plan.families.prompts import PROMPTS, prompt_inputs, solutions_verdicts
from fusionrun.plan.gpus import devices_of
from fusionrun.plan.pinned import Feature, PinnedPlan
from fusionrun.plan.references import References
from fusionrun.plan.stages import Stage, StageSubject, digest_data, stage_name


@dataclass(frozen=True)
class ServedModel:
    """The model of a ``serve`` stage."""

    name: str
    """Model name in requests."""
    path: str
    settings: ServerSettings
    chat_template: TemplateName | None = None
    """The template that replaces that of the model's tokenizer."""


def source_stages(spec: FusionRunSpec, references: References) -> list[Stage]:
    """Plan ``serve`` and ``generate`` for each source, except for sources of type Dataset."""
    stages: list[Stage] = []
    for source in spec.sources:
        if source.type is SourceType.DATASET:
            continue
        if source.served:
            pins, after = (references.model(source.name),), (*references.after(source.name), *prompt_inputs(spec))
            remote_code = source.served.model.trust_remote_code
            stages.append(serve_stage(source, source.served, pins, after, remote_code=remote_code))
        stages.append(_generate(spec, source, references))
    return stages


def serve_stage(
    subject: StageSubject,
    server: ServerSettings,
    pins: tuple[int, ...],
    after: tuple[str, ...],
    *,
    remote_code: bool = False,
) -> Stage:
    """Plan ``serve`` for a source or an evaluated model. ``after`` has all that its client needs as well."""
    held, pods = devices_of(server.resources), server.replicas
    return Stage(StageKind.SERVE, subject, pins=pins, after=after, remote_code=remote_code, devices=held, pods=pods)


def served_source(pinned: PinnedPlan, source: Source) -> ServedModel:
    """Return the model of a source with the settings of its server."""
    if source.served is None:
        raise PlanError(f"source {source.name!r} is not served")
    path = pinned.model(source.served.model, f"sources[{source.name}].served.model")
    return ServedModel(source.name, path, source.served)


def _generate(spec: FusionRunSpec, source: Source, references: References) -> Stage:
    parameters: dict[str, Any] = {
        "source": source.name,
        "systemPrompt": source.system_prompt,
        "sampling": digest_data(source.sampling),
        "samples": {d.name: d.samples_per_prompt for d in datasets_of(spec, source)},
        "seed": spec.construction.seed,
        **(server_digest(source.served) if source.served else endpoint_digest(source.endpoint)),
    }
    return Stage(
        StageKind.GENERATE,
        source,
        parameters=parameters,
        pins=(references.model(source.name),) if source.served else (),
        inputs=prompt_inputs(spec),
        server=stage_name(StageKind.SERVE, source) if source.served else None,
        endpoint=source.endpoint,
        shards=spec.generation.shards,
        parallelism=spec.generation.parallelism,
    )


def generate_task(pinned: PinnedPlan, stage: Stage, source: Source, server_url: str) -> GenerateParameters:
    """Return the task of ``generate``: request the responses of a source."""
    spec, endpoint = pinned.spec, source.endpoint
    return GenerateParameters(
        source=source.name,
        base_url=endpoint.url if endpoint else server_url,
        model=endpoint.model if endpoint else source.name,
        external=endpoint is not None,
        prices=endpoint.prices if endpoint else None,
        quota=endpoint.quota if endpoint else None,
        api_key_env=api_key_env(endpoint) if endpoint else server_key_env(pinned),
        prompts_dir=pinned.artifact(PROMPTS, artifacts.PROMPTS),
        solutions_verdicts_dir=solutions_verdicts(pinned),
        shards=stage.shards or 1,
        samples_per_prompt={d.name: d.samples_per_prompt or 1 for d in datasets_of(spec, source)},
        sampling=sampling_task(source.sampling),
        system_prompt=source.system_prompt,
        concurrency=spec.generation.concurrency,
        max_concurrency=max_concurrency(spec),
        stall_seconds=spec.generation.stall_seconds,
        seed=spec.construction.seed,
    )


def max_concurrency(spec: FusionRunSpec) -> int:
    """Return the limit of concurrent requests per shard."""
    return spec.generation.max_concurrency or recipe.CONCURRENCY_GROWTH * spec.generation.concurrency


def sampling_task(sampling: Sampling | None) -> SamplingParameters:
    """Return the sampling parameters of a task, which are all set."""
    if sampling is None:
        raise PlanError("sampling is not filled in")
    return SamplingParameters.model_validate(sampling.model_dump())


def server_digest(server: ServerSettings) -> dict[str, Any]:
    """Return the settings of a server that may change its responses."""
    return {"dtype": server.dtype, "maxModelLen": server.max_model_len, "extraArgs": server.extra_args}


def endpoint_digest(endpoint: ModelEndpoint | None) -> dict[str, Any]:
    """Return the settings of an external endpoint that may change its replies."""
    return {"endpoint": {"url": endpoint.url, "model": endpoint.model}} if endpoint else {}


def api_key_env(endpoint: ModelEndpoint | None) -> str | None:
    """Return the environment variable that holds the API key of an endpoint, if it has one."""
    return API_KEY_ENV if endpoint and endpoint.api_key_secret_ref else None


def server_key_env(pinned: PinnedPlan) -> str | None:
    """Return the environment variable that holds the API key of the run's own servers, if they ask for one."""
    return API_KEY_ENV if Feature.SERVER_KEY in pinned.features else None


def datasets_of(spec: FusionRunSpec, source: Source) -> list[Dataset]:
    """Return the data sets to whose prompts a source responds."""
    return [d for d in spec.datasets if source.name in (d.sources or [])]


def responses_stage(source: Source) -> str:
    """Return the stage that writes the responses of a source: ``prepare`` if a data set contains them."""
    return PROMPTS if source.type is SourceType.DATASET else stage_name(StageKind.GENERATE, source)


def responses_dir(pinned: PinnedPlan, source: Source) -> str:
    """Return the directory of the responses of a source."""
    part = f"{artifacts.RESPONSES}/{source.name}" if source.type is SourceType.DATASET else artifacts.RESPONSES
    return pinned.artifact(responses_stage(source), part)
