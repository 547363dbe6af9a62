"""Stages of the judge: ``judge`` sends it the responses of an evaluated model, ``serve`` runs it unless it is external.

They are planned for each evaluated model, after its responses and before its scores.
"""

from typing import Any

from fusionrun.api import artifacts
from fusionrun.api.spec.evaluation import Judge
from fusionrun.api.spec.run import FusionRunSpec
from fusionrun.api.stage import StageKind
from fusionrun.api.tasks.evaluation import BenchmarkParameters, JudgeParameters
from fusionrun.api.tasks.protocol import Protocol
from fusionrun.errors import PlanError
from fusionrun.plan.benchmarks.protocols import judgement_digest, protocols_of
from fusionrun.plan.families.prompts import benchmarks_stage
from fusionrun.plan.families.responses import (
    ServedModel,
    api_key_env,
    endpoint_digest,
    max_concurrency,
    serve_stage,
    server_digest,
    server_key_env,
)
from fusionrun.plan.pinned import PinnedPlan
from fusionrun.plan.references import JUDGE, References
from fusionrun.plan.stages import Evaluated, JudgeServer, Stage, family_of, model_name, stage_name


def judge_stages(spec: FusionRunSpec, model: Evaluated, inputs: tuple[str, ...], references: References) -> list[Stage]:
    """Plan ``serve`` and ``judge`` for an evaluated model; nothing if no benchmark is judged.

    ``inputs`` are the stages with the questions and with the responses of the model.
    """
    judged = _judged(spec, model)
    if not judged:
        return []
    judge = _judge(spec)
    parameters: dict[str, Any] = {"benchmarks": {name: judgement_digest(protocol) for name, protocol in judged.items()}}
    parameters["evaluated"] = model_name(model)
    if judge.served is None:
        parameters |= endpoint_digest(judge.endpoint)
        return [Stage(StageKind.JUDGE, model, parameters=parameters, inputs=inputs, endpoint=judge.endpoint, shards=1)]
    server, pins = JudgeServer(model), (references.model(JUDGE),)
    after, remote_code = references.after(JUDGE), judge.served.model.trust_remote_code
    return [
        serve_stage(server, judge.served, pins, (*after, *inputs), remote_code=remote_code),
        Stage(
            StageKind.JUDGE,
            model,
            parameters=parameters | server_digest(judge.served),
            pins=pins,
            inputs=inputs,
            server=stage_name(StageKind.SERVE, server),
            shards=1,
        ),
    ]


def judge_stage_name(model: Evaluated) -> str:
    """Return the name of the stage that judges the responses of a model."""
    return stage_name(StageKind.JUDGE, model)


def served_judge(pinned: PinnedPlan) -> ServedModel:
    """Return the judge that the run serves, with the settings of its server."""
    served = _judge(pinned.spec).served
    if served is None:
        raise PlanError("the judge is not served")
    return ServedModel(JUDGE, pinned.model(served.model, "evaluation.judge.served.model"), served)


def judge_task(pinned: PinnedPlan, stage: Stage, model: Evaluated, server_url: str) -> JudgeParameters:
    """Return the task of ``judge``: let the judge rate the responses of a model."""
    spec = pinned.spec
    endpoint, questions = _judge(spec).endpoint, benchmarks_stage(spec, model)
    return JudgeParameters(
        evaluated=model_name(model),
        benchmarks=[BenchmarkParameters(name=n, grader=p.grader, protocol=p) for n, p in _judged(spec, model).items()],
        prompts_dir=pinned.artifact(questions, artifacts.PROMPTS),
        responses_dir=pinned.artifact(stage_name(StageKind.GENERATE, model), artifacts.RESPONSES),
        materials_dir=pinned.artifact(questions, artifacts.MATERIALS),
        shards=stage.shards or 1,
        base_url=endpoint.url if endpoint else server_url,
        model=endpoint.model if endpoint else JUDGE,
        api_key_env=api_key_env(endpoint) if endpoint else server_key_env(pinned),
        external=endpoint is not None,
        prices=endpoint.prices if endpoint else None,
        quota=endpoint.quota if endpoint else None,
        concurrency=spec.generation.concurrency,
        max_concurrency=max_concurrency(spec),
        stall_seconds=spec.generation.stall_seconds,
    )


def _judged(spec: FusionRunSpec, model: Evaluated) -> dict[str, Protocol]:
    """Return the protocols of the benchmarks that a judge rates for an evaluated model."""
    protocols = protocols_of(spec, family_of(model))
    return {name: protocol for name, protocol in protocols.items() if protocol.grader.needs_judge}


def _judge(spec: FusionRunSpec) -> Judge:
    if spec.evaluation.judge is None:
        raise PlanError("evaluation.judge is not set")
    return spec.evaluation.judge
