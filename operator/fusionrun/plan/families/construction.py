"""The stage that builds the training data from judged responses: ``construct``."""

from typing import Any

from fusionrun.api import artifacts
from fusionrun.api.artifacts import manifest_paths
from fusionrun.api.spec.run import FusionRunSpec
from fusionrun.api.spec.sources import Source
from fusionrun.api.stage import StageKind
from fusionrun.api.tasks.parameters import ConstructParameters, SourceInputs
from fusionrun.errors import PlanError
from fusionrun.plan.families.judging import verdicts_stages
from fusionrun.plan.families.prompts import PROMPTS, prompt_inputs, solutions_verdicts
from fusionrun.plan.families.responses import responses_dir, responses_stage
from fusionrun.plan.pinned import PinnedPlan
from fusionrun.plan.presets import preset_data
from fusionrun.plan.stages import Stage, digest_data, stage_name

CONSTRUCT = stage_name(StageKind.CONSTRUCT)


def construct_stages(spec: FusionRunSpec) -> list[Stage]:
    """Plan ``construct``."""
    parameters: dict[str, Any] = {
        "construction": digest_data(spec.construction),
        "tasks": {d.name: d.task for d in spec.datasets},
        "systemPrompts": _system_prompts(spec),
    }
    # Earlier releases did not have this field: without a value it must not change the digest.
    if bounds := _max_kept(spec):
        parameters["maxKept"] = bounds
    inputs = list(prompt_inputs(spec))
    for source in spec.sources:
        score = stage_name(StageKind.SCORE, source)
        inputs += [responses_stage(source), *verdicts_stages(spec, source), score]
    return [Stage(StageKind.CONSTRUCT, parameters=parameters, inputs=tuple(dict.fromkeys(inputs)))]


def construct_task(pinned: PinnedPlan, stage: Stage) -> ConstructParameters:
    """Return the task of ``construct``: build SFT rows, pairs and held-out pairs by the rules of the recipe."""
    spec = pinned.spec
    construction = spec.construction
    if construction.reward_margin is None or construction.sft_fraction is None:
        raise PlanError("construction is not filled in")
    return ConstructParameters(
        prompts_dir=pinned.artifact(PROMPTS, artifacts.PROMPTS),
        prepare_manifest=manifest_paths(pinned.artifact(PROMPTS), None)[0],
        solutions_verdicts_dir=solutions_verdicts(pinned),
        tasks={d.name: d.task for d in spec.datasets},
        sources=[
            SourceInputs(
                source=source.name,
                source_model=source_model(spec, source),
                responses_dir=responses_dir(pinned, source),
                verdicts_dirs=[
                    pinned.artifact(name, artifacts.VERDICTS)
                    for name in verdicts_stages(spec, source)
                    if name in stage.inputs
                ],
                scores_dir=pinned.artifact(stage_name(StageKind.SCORE, source), artifacts.SCORES),
            )
            for source in spec.sources
        ],
        reward_margin=construction.reward_margin,
        sft_fraction=construction.sft_fraction,
        held_out_fraction=construction.held_out_fraction,
        max_kept=_max_kept(spec),
        system_prompts=_system_prompts(spec),
        seed=construction.seed,
    )


def source_model(spec: FusionRunSpec, source: Source) -> str:
    """Return the name of a source's model, without organization, as in the rows that the authors published.

    A source of type Dataset has that of the preset with its responses, or its own name.
    """
    if source.served:
        return source.served.model.uri.rstrip("/").rsplit("/", 1)[-1]
    if source.endpoint:
        return source.endpoint.model.rsplit("/", 1)[-1]
    presets = {d.preset for d in spec.datasets if source.name in (d.responses_columns or {})}
    known = {preset and preset_data(preset).responses_model for preset in presets}
    return (known.pop() if len(known) == 1 else None) or source.name


def _max_kept(spec: FusionRunSpec) -> dict[str, int]:
    return {d.name: d.max_kept for d in spec.datasets if d.max_kept is not None}


def _system_prompts(spec: FusionRunSpec) -> dict[str, str]:
    return {s.name: s.system_prompt for s in spec.sources if s.system_prompt}
