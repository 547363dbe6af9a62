"""Where everything of a run lies: artifacts by their digests, models by their pins."""

from collections.abc import Callable
from dataclasses import dataclass, field

from fusionrun.api.artifacts import artifact_dir, claim_path, model_dir
from fusionrun.api.models import Model, Source, SourceType
from fusionrun.api.spec import FusionRunSpec
from fusionrun.errors import PlanError
from fusionrun.plan.answers import responses_stage
from fusionrun.plan.stages import Plan


@dataclass(frozen=True)
class Layout:
    """A plan with everything pinned: knows where each artifact and each model lies."""

    namespace: str
    run: str
    uid: str
    spec: FusionRunSpec
    plan: Plan
    pins: tuple[str, ...]
    """Fingerprint per reference; empty before ``resolve``."""
    digests: dict[str, str]
    scores: dict[str, dict[str, float]] = field(default_factory=dict)
    """Scores so far by benchmark, then by model: for the published card."""

    def artifact(self, stage: str, part: str = "") -> str:
        """Return the directory of a stage's artifact, or a part of it."""
        directory = artifact_dir(self.plan[stage].kind, self.digests[stage])
        return f"{directory}/{part}" if part else directory

    def responses(self, source: Source) -> str:
        """Return the directory of a source's responses."""
        part = f"responses/{source.name}" if source.type is SourceType.DATASET else "responses"
        return self.artifact(responses_stage(source), part)

    def model(self, model: Model, spec_field: str) -> str:
        """Return the directory of a model of the spec."""
        if model.uri.startswith("pvc://"):
            return claim_path(model.uri)
        return model_dir(self.pin(spec_field))

    def pin(self, spec_field: str) -> str:
        """Return the fingerprint of a reference, by its field in the spec."""
        for reference, pin in zip(self.plan.references, self.pins, strict=False):
            if reference.field == spec_field:
                return pin
        raise PlanError(f"{spec_field} is not pinned")

    def target(self) -> str:
        """Return the directory of the base target model."""
        return self.model(self.spec.target.model, "target.model")

    def served_model(self, serve: str) -> str:
        """Return the directory of the model that a ``serve`` stage serves."""
        name = serve.removeprefix("serve/")
        made: dict[str, Callable[[], str]] = {
            "eval-base": self.target,
            "eval-sft": lambda: self.artifact("sft", "model"),
            "eval-final": lambda: self.artifact("promote", "model"),
        }
        if name in made:
            return made[name]()
        source = next(s for s in self.spec.sources if s.name == name)
        if source.served is None:
            raise PlanError(f"{serve}: source {name!r} is not served")
        return self.model(source.served.model, f"sources[{name}].served.model")
