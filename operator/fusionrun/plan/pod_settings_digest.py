"""The part of a spec that decides how the pods of a stage run, as a hash.

It is not the digest of an artifact. It shows whether the spec has changed since a stage started: a stage whose pods
still wait starts again then.
"""

from fusionrun.api.contract import Contract
from fusionrun.api.spec.evaluation import Judge
from fusionrun.api.spec.run import FusionRunSpec
from fusionrun.api.spec.sources import Source
from fusionrun.api.spec.target import MeasuredModel
from fusionrun.api.stage import CLIENTS, PreflightSubject, StageKind
from fusionrun.names import digest_of
from fusionrun.plan.stages import JudgeServer, Stage

_TRAINING = (StageKind.SFT, StageKind.DPO, StageKind.PROMOTE)


def pod_settings_digest(spec: FusionRunSpec, stage: Stage) -> str:
    """Return the hash. Values that are defaults do not change it, so that a new field of a release does not either."""
    return digest_of(*(part.model_dump_json(exclude_defaults=True) for part in _parts(spec, stage) if part))


def _parts(spec: FusionRunSpec, stage: Stage) -> list[Contract | None]:
    """Return the parts of the spec that the pods of a stage depend on."""
    # The first two say when a stage starts, the third what is reported. A stage in a queue would lose its place.
    unused = {"gpu_budget": None, "max_servers": None, "gpu_memory": None} | (
        {"cpu_queue_name": None} if stage.gpus else {}
    )
    scheduling = spec.scheduling.model_copy(update=unused)
    source = stage.subject if isinstance(stage.subject, Source) else None
    judge = spec.evaluation.judge or Judge()
    if stage.kind is StageKind.SERVE:
        of_judge = judge.served if isinstance(stage.subject, JudgeServer) else None
        own = stage.subject.server if isinstance(stage.subject, MeasuredModel) else None
        return [scheduling, of_judge or source or spec.evaluation.server, own]
    if stage.kind in _TRAINING or stage.subject is PreflightSubject.TRAINING:
        return [scheduling, spec.training]
    if stage.kind is StageKind.SCORE or stage.subject is PreflightSubject.REWARD:
        return [scheduling, spec.data_stages, spec.generation, spec.reward_model]
    if stage.kind in CLIENTS:
        endpoint = source.endpoint if source else judge.endpoint if stage.kind is StageKind.JUDGE else None
        return [scheduling, spec.data_stages, spec.generation, endpoint]
    if stage.kind is StageKind.VERIFY:
        return [scheduling, spec.data_stages, spec.sandbox]
    return [scheduling, spec.data_stages]
