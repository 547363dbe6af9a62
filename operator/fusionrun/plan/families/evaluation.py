"""Stages that measure the models on the benchmarks: ``serve`` to ``evaluate``."""

from typing import Any

from fusionrun.api import artifacts
from fusionrun.api.spec.evaluation import Grader
from fusionrun.api.spec.run import FusionRunSpec
from fusionrun.api.spec.servers import ServerSettings
from fusionrun.api.spec.target import MeasuredModel
from fusionrun.api.stage import EvaluatedModel, StageKind
from fusionrun.api.tasks.evaluation import BenchmarkParameters, EvaluateParameters
from fusionrun.api.tasks.harness import HarnessTasks
from fusionrun.api.tasks.responses import GenerateParameters, VerifyParameters
from fusionrun.plan.benchmarks.lm_eval import harness_tasks, task_digest
from fusionrun.plan.benchmarks.protocols import (
    asked_protocols,
    judge_name,
    protocols_of,
    requests_digest,
    score_digest,
)
from fusionrun.plan.families.judges import judge_stage_name, judge_stages
from fusionrun.plan.families.judging import verify_parameters, verify_stage
from fusionrun.plan.families.prompts import PROMPTS, benchmarks_stage, harness_data, question_sets
from fusionrun.plan.families.responses import (
    ServedModel,
    max_concurrency,
    sampling_task,
    serve_stage,
    server_digest,
    server_key_env,
)
from fusionrun.plan.families.training import PROMOTE, SFT
from fusionrun.plan.pinned import PinnedPlan
from fusionrun.plan.recipe import chat_template
from fusionrun.plan.references import TARGET, References, harness_fields, measured_field
from fusionrun.plan.servers import server_of
from fusionrun.plan.stages import Evaluated, Stage, digest_data, family_of, model_name, stage_name, subject_name


def evaluation_stages(spec: FusionRunSpec, references: References) -> list[Stage]:
    """Plan the stages of every evaluated model, if there are benchmarks."""
    if not spec.evaluation.benchmarks or spec.evaluation.server is None:
        return []
    stages: list[Stage] = []
    prepared = question_sets(spec)
    for model in evaluated_models(spec):
        questions = stage_name(StageKind.PREPARE, prepared[family_of(model)])
        inputs, server = (questions, _responses_stage(model)), server_of(spec.evaluation, model)
        stages += [
            _serve(server, model, questions, references),
            _generate(spec, server, model, questions, references),
        ]
        if coding := _coding_benchmarks(spec):
            stages.append(verify_stage(model, Grader.CODING, coding, inputs))
        judged = judge_stages(spec, model, inputs, references)
        stages += [*judged, _evaluate(spec, model, inputs, judged=bool(judged))]
    return stages


def evaluated_models(spec: FusionRunSpec) -> list[Evaluated]:
    """Return the models that the benchmarks measure."""
    return list(spec.evaluate_only.models if spec.evaluate_only else EvaluatedModel)


def _trained_by(model: Evaluated) -> tuple[str, ...]:
    """Return the stage whose artifact is the model; none for the base model and for models of ``evaluateOnly``."""
    match model:
        case EvaluatedModel.SFT:
            return (SFT,)
        case EvaluatedModel.FINAL:
            return (PROMOTE,)
        case _:
            return ()


def _role(model: Evaluated) -> str | None:
    """Return the role of a model that the spec names; None for a model that the run trains."""
    if isinstance(model, MeasuredModel):
        return subject_name(model)
    return TARGET if model is EvaluatedModel.BASE else None


def _pins(model: Evaluated, references: References) -> tuple[int, ...]:
    role = _role(model)
    return (references.model(role),) if role else ()


def _serve(server: ServerSettings, model: Evaluated, questions: str, references: References) -> Stage:
    role = _role(model)
    after = references.after(role) if role else _trained_by(model)
    if model is EvaluatedModel.BASE:
        # It could be served before any source. It waits for the prompts, so that the sources get GPUs first.
        after = (*after, PROMPTS)
    remote_code = isinstance(model, MeasuredModel) and model.model.trust_remote_code
    return serve_stage(model, server, _pins(model, references), (*after, questions), remote_code=remote_code)


def served_model(pinned: PinnedPlan, model: Evaluated) -> ServedModel:
    """Return an evaluated model with the settings of its server."""
    if isinstance(model, MeasuredModel):
        path = pinned.model(model.model, measured_field(model))
    else:
        path = next((pinned.artifact(stage, artifacts.MODEL) for stage in _trained_by(model)), None) or pinned.target()
    template = chat_template(model) if isinstance(model, MeasuredModel) else None
    return ServedModel(subject_name(model), path, server_of(pinned.spec.evaluation, model), template)


def _generate(
    spec: FusionRunSpec, server: ServerSettings, model: Evaluated, questions: str, references: References
) -> Stage:
    parameters: dict[str, Any] = {"sampling": digest_data(spec.evaluation.sampling), **server_digest(server)}
    protocols, tasks = asked_protocols(spec, family_of(model)), harness_tasks(spec)
    requests = {n: requests_digest(p, spec.evaluation.sampling) for n, p in protocols.items()}
    # Earlier releases had one response per prompt, with the same sampling for all benchmarks.
    if any(requests.values()):
        parameters["benchmarks"] = requests
    if isinstance(model, MeasuredModel):  # two names may have the same model
        parameters["model"] = model.name
        if template := chat_template(model):
            parameters["chatTemplate"] = template
    if tasks:
        parameters["harness"] = {task.name: task_digest(task) for task in tasks}
    task_pins = [references.indexes[field] for field in harness_fields(spec).values()]
    return Stage(
        StageKind.GENERATE,
        model,
        parameters=parameters,
        pins=(*_pins(model, references), *task_pins),
        inputs=(questions, *_trained_by(model)),
        server=stage_name(StageKind.SERVE, model),
        shards=1,
    )


def generate_task(pinned: PinnedPlan, stage: Stage, model: Evaluated, server_url: str) -> GenerateParameters:
    """Return the task of ``generate``: request the responses to the benchmarks, as their protocols say."""
    spec, name = pinned.spec, subject_name(model)
    protocols, tasks = asked_protocols(spec, family_of(model)), harness_tasks(spec)
    return GenerateParameters(
        source=name,
        base_url=server_url,
        model=name,
        api_key_env=server_key_env(pinned),
        prompts_dir=pinned.artifact(benchmarks_stage(spec, model), artifacts.PROMPTS),
        shards=stage.shards or 1,
        samples_per_prompt={name: protocol.samples for name, protocol in protocols.items()},
        sampling=sampling_task(spec.evaluation.sampling),
        sampling_by_dataset={
            name: sampling_task(protocol.sampling).model_copy(update={"stop": protocol.stop})
            for name, protocol in protocols.items()
            if protocol.sampling != spec.evaluation.sampling or protocol.stop
        },
        harness=HarnessTasks(tasks=tasks, data=harness_data(pinned)) if tasks else None,
        concurrency=spec.generation.concurrency,
        max_concurrency=max_concurrency(spec),
        stall_seconds=spec.generation.stall_seconds,
        seed=spec.construction.seed,
    )


def _responses_stage(model: Evaluated) -> str:
    return stage_name(StageKind.GENERATE, model)


def _verify_stage(model: Evaluated) -> str:
    return stage_name(StageKind.VERIFY, model, Grader.CODING)


def _coding_benchmarks(spec: FusionRunSpec) -> list[str]:
    return [b.name for b in spec.evaluation.benchmarks if b.grader and b.grader.runs_programs]


def verify_task(pinned: PinnedPlan, stage: Stage, model: Evaluated) -> VerifyParameters:
    """Return the task of ``verify``: run the responses to the coding benchmarks against their tests."""
    responses_dir = pinned.artifact(_responses_stage(model), artifacts.RESPONSES)
    questions = benchmarks_stage(pinned.spec, model)
    return verify_parameters(pinned, stage, _coding_benchmarks(pinned.spec), questions, responses_dir)


def evaluate_stage(model: Evaluated) -> str:
    """Return the stage that computes the scores of a model."""
    return stage_name(StageKind.EVALUATE, model)


def _evaluate(spec: FusionRunSpec, model: Evaluated, inputs: tuple[str, ...], *, judged: bool) -> Stage:
    verdicts = (_verify_stage(model),) if _coding_benchmarks(spec) else ()
    judgements = (judge_stage_name(model),) if judged else ()
    protocols = protocols_of(spec, family_of(model))
    return Stage(
        StageKind.EVALUATE,
        model,
        parameters={"benchmarks": {name: score_digest(protocol) for name, protocol in protocols.items()}},
        inputs=(*inputs, *verdicts, *judgements),
    )


def evaluate_task(pinned: PinnedPlan, stage: Stage, model: Evaluated) -> EvaluateParameters:
    """Return the task of ``evaluate``: grade the responses of a model."""
    verdicts, judgements = _verify_stage(model), judge_stage_name(model)
    judged, questions = judgements in stage.inputs, benchmarks_stage(pinned.spec, model)
    return EvaluateParameters(
        model=model_name(model),
        benchmarks=benchmark_parameters(pinned.spec, model),
        prompts_dir=pinned.artifact(questions, artifacts.PROMPTS),
        responses_dir=pinned.artifact(_responses_stage(model), artifacts.RESPONSES),
        verdicts_dir=pinned.artifact(verdicts, artifacts.VERDICTS) if verdicts in stage.inputs else None,
        judgements_dir=pinned.artifact(judgements, artifacts.JUDGEMENTS) if judged else None,
        materials_dir=pinned.artifact(questions, artifacts.MATERIALS),
        harness_dir=pinned.artifact(_responses_stage(model)) if harness_tasks(pinned.spec) else None,
        judge=judge_name(pinned.spec.evaluation.judge) if judged else None,
        shards=1,
        seed=pinned.spec.construction.seed,
    )


def benchmark_parameters(spec: FusionRunSpec, model: Evaluated) -> list[BenchmarkParameters]:
    """Return the benchmarks of a task, with the protocols of a model."""
    return [
        BenchmarkParameters(name=name, grader=protocol.grader, protocol=protocol)
        for name, protocol in protocols_of(spec, family_of(model)).items()
    ]
