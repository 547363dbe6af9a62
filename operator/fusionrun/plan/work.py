"""What the time of a stage depends on, as a hash: stages with the same one are expected to take as long. Pure.

It is not the digest of an artifact. Another seed, learning rate or loss makes another artifact in the same time, and
more replicas make the same one in less.
"""

from collections.abc import Iterator

from fusionrun.api.contract import Contract
from fusionrun.api.spec.run import FusionRunSpec
from fusionrun.api.spec.sources import Source
from fusionrun.api.spec.target import MeasuredModel
from fusionrun.api.stage import StageKind
from fusionrun.names import digest_of
from fusionrun.plan.families.responses import datasets_of
from fusionrun.plan.servers import server_of
from fusionrun.plan.stages import Evaluated, JudgeServer, Stage

_TRAINING = (StageKind.SFT, StageKind.DPO, StageKind.PROMOTE)
_MEASURED = (StageKind.SERVE, StageKind.VERIFY, StageKind.SCORE, *_TRAINING)
_TRAINING_FIELDS = {
    "nodes", "processes_per_node", "zero_stage", "offload", "lora", "precision", "gradient_checkpointing",
}  # fmt: skip
_STEP_FIELDS = {"epochs", "global_batch_size", "micro_batch_size", "max_length", "save_steps"}


def work_digest(spec: FusionRunSpec, stage: Stage) -> str | None:
    """Return the hash; None for a stage of another kind, and for one with a server, whose time is that of the server.

    Values that are defaults do not change it, so that a new field of a release does not either.
    """
    if stage.server or not (stage.kind in _MEASURED or stage.endpoint):
        return None
    pods = (stage.pods, stage.parallelism, stage.shards, sorted(stage.devices.items()))
    parts = (_json(part) for part in _parts(spec, stage) if part)
    return digest_of(stage.kind, str(pods), *parts)


def _parts(spec: FusionRunSpec, stage: Stage) -> Iterator[Contract | str | None]:
    """Yield the models and the data that a stage processes, and how its pods do that."""
    if isinstance(stage.subject, Source):
        served = stage.subject.served
        if served and stage.kind is not StageKind.SERVE:  # how the responses were made does not matter
            yield from (stage.subject.model_copy(update={"served": None}), served.model)
        else:
            yield stage.subject
        yield from (spec.generation, *datasets_of(spec, stage.subject))
        yield spec.reward_model if stage.kind is StageKind.SCORE else None
    elif isinstance(stage.subject, JudgeServer):
        yield from _evaluated(spec, stage.subject.evaluated, spec.evaluation.judge)
    elif isinstance(stage.subject, Evaluated):
        judge = spec.evaluation.judge if stage.kind is StageKind.JUDGE else None
        yield from _evaluated(spec, stage.subject, judge or server_of(spec.evaluation, stage.subject))
    else:
        yield from (spec.target and spec.target.model, *spec.datasets, *(source.name for source in spec.sources))
    if stage.kind in _TRAINING:
        steps = spec.training.sft if stage.kind is StageKind.SFT else spec.training.dpo
        yield _json(spec.training, _TRAINING_FIELDS)
        yield _json(steps, _STEP_FIELDS)
        yield spec.construction.model_copy(update={"seed": 0})


def _evaluated(spec: FusionRunSpec, model: Evaluated, server: Contract | None) -> Iterator[Contract | str | None]:
    """Yield the model and the benchmarks. Those that the run trains have the size of the target."""
    owner = model if isinstance(model, MeasuredModel) else spec.target
    yield from (owner and owner.model, owner and owner.family)
    yield from (server, spec.generation, spec.evaluation.sampling, *spec.evaluation.benchmarks)


def _json(part: Contract | str, fields: set[str] | None = None) -> str:
    return part if isinstance(part, str) else part.model_dump_json(include=fields, exclude_defaults=True)
