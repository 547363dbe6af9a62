"""The stage that copies the final model and the data set to their destination: ``publish``."""

import json

from fusionrun.api import artifacts
from fusionrun.api.artifacts import claim_path
from fusionrun.api.spec.mutable import MUTABLE_FIELDS
from fusionrun.api.spec.run import FusionRunSpec, Publish
from fusionrun.api.stage import EvaluatedModel, StageKind
from fusionrun.api.tasks.parameters import PublishParameters
from fusionrun.errors import PlanError
from fusionrun.plan.benchmarks.protocols import protocols_of
from fusionrun.plan.families.comparison import COMPARE
from fusionrun.plan.families.construction import CONSTRUCT
from fusionrun.plan.families.evaluation import evaluate_stage
from fusionrun.plan.families.training import PROMOTE
from fusionrun.plan.pinned import PinnedPlan
from fusionrun.plan.stages import Stage


def publish_stages(spec: FusionRunSpec) -> list[Stage]:
    """Plan ``publish``, if the spec requests it. It waits for the scores, which the model card shows."""
    if spec.publish is None:
        return []
    scores = (*map(evaluate_stage, EvaluatedModel), COMPARE) if spec.evaluation.benchmarks else ()
    # The default is not in the digest: earlier releases had no such field.
    parameters = {"uri": spec.publish.uri} | ({"private": False} if spec.publish.private is False else {})
    return [Stage(StageKind.PUBLISH, parameters=parameters, inputs=(PROMOTE, CONSTRUCT), after=scores)]


def destination(publish: Publish) -> str:
    """Return where the model is published: a path in the pod, or a URI."""
    return claim_path(publish.uri) if publish.uri.startswith("pvc://") else publish.uri


def publish_task(pinned: PinnedPlan) -> PublishParameters:
    """Return the task of ``publish``: copy the model and the data set, with generated cards."""
    publish = pinned.spec.publish
    if publish is None:
        raise PlanError("spec.publish is not set")
    # Mutable fields do not change the model, and an older image may not know them.
    spec = pinned.spec.model_dump(mode="json", exclude_none=True)
    protocols = protocols_of(pinned.spec)
    judged = any(protocol.grader.needs_judge for protocol in protocols.values())
    recipe = {name: value for name, value in spec.items() if name not in MUTABLE_FIELDS}
    return PublishParameters(
        model_path=pinned.artifact(PROMOTE, artifacts.MODEL),
        dataset_dir=pinned.artifact(CONSTRUCT),
        destination=destination(publish),
        hub_endpoint=pinned.publish_endpoint,
        private=publish.private,
        run_spec=json.dumps(recipe, sort_keys=True),
        scores=pinned.scores,
        results=list(pinned.results),
        groups=list(pinned.groups),
        pins={r.field: pin for r, pin in zip(pinned.plan.references, pinned.pins, strict=False)},
        source_models={
            s.name: pinned.model(s.served.model, f"sources[{s.name}].served.model")
            for s in pinned.spec.sources
            if s.served is not None
        },
        benchmark_licences={n: p.licence for n, p in protocols.items() if p.licence},
        evaluation_dir=pinned.artifact(evaluate_stage(EvaluatedModel.FINAL)) if judged else None,
    )
