"""A run, and its plan with pinned references: where each artifact and each model is stored."""

from dataclasses import dataclass, field
from enum import StrEnum

from fusionrun.api.artifacts import artifact_dir, claim_path, model_dir
from fusionrun.api.spec.models import Model
from fusionrun.api.spec.run import FusionRunSpec
from fusionrun.api.status.results import BenchmarkResult, GroupResult
from fusionrun.errors import PlanError
from fusionrun.plan.stages import Plan


class Feature(StrEnum):
    """What a run has only if it was accepted by a release that knows it: its images and its other pods must fit."""

    SERVER_KEY = "serverKey"
    """Its model servers ask for an API key."""
    NETWORK_CHECK = "networkCheck"
    """An init container checks that a server with code of a model has no network access."""
    ARTIFACT_LABEL = "artifactLabel"
    """Its workloads have a label with the digest of their artifact, so that other runs wait for it."""
    UID_LABEL = "uidLabel"
    """Its objects have the label ``LABEL_RUN_UID``, by which its Services select pods."""
    GPU_QUEUE = "gpuQueue"
    """Only its stages with GPUs are in ``scheduling.queueName``. Without this feature, all its stages are."""
    RETRIES = "retries"
    """Each shard has its own limit of retries, servers have a liveness probe, and pods get ``stallSeconds``."""
    SHARED_SHARDS = "sharedShards"
    """Its pods that score take shards until none is left. Without this feature, each shard has a pod of its own."""
    PROMOTE_ON_ONE_GPU = "promoteOnOneGpu"
    """The pod that selects a checkpoint has one GPU. Without this feature, it has the resources of a training pod."""
    CPU_REQUESTS = "cpuRequests"
    """Its pods with GPUs request CPUs (``Settings.cpu_request_per_gpu``)."""


@dataclass(frozen=True)
class Run:
    """A FusionRun with its resolved spec: the owner of the objects of its stages."""

    namespace: str
    name: str
    uid: str
    spec: FusionRunSpec
    features: frozenset[Feature] = field(default=frozenset(), kw_only=True)


@dataclass(frozen=True)
class PinnedPlan(Run):
    """The plan of a run with the fingerprints of its references and the digests of its artifacts."""

    plan: Plan
    pins: tuple[str, ...]
    """Fingerprint per reference; empty before ``resolve``."""
    digests: dict[str, str]
    """Digest of the artifact of each stage; empty before ``resolve``."""
    scores: dict[str, dict[str, float]] = field(default_factory=dict)
    """Scores by benchmark, then by model: for the published card."""
    results: tuple[BenchmarkResult, ...] = ()
    """The scores with intervals and differences: for the published card."""
    groups: tuple[GroupResult, ...] = ()
    publish_endpoint: str | None = None
    """URL of the model hub to publish to; None for the default."""

    gpu_memory_bytes: int | None = None
    """Memory of one GPU, for the checks of ``resolve``; None if it is unknown."""
    gpu_memory_of_parts: dict[str, int] = field(default_factory=dict)
    """The same for each part of the spec whose pods select other GPUs, by its field (``plan.demand``)."""

    @property
    def hub_endpoint(self) -> str | None:
        """URL of the model hub; None for the default."""
        return self.spec.hub.endpoint if self.spec.hub else None

    def artifact(self, stage: str, part: str = "") -> str:
        """Return the directory of the artifact of a stage, or the path of a part of it."""
        directory = artifact_dir(self.plan[stage].kind, self.digests[stage])
        return f"{directory}/{part}" if part else directory

    def model(self, model: Model, spec_field: str) -> str:
        """Return the directory of a model of the spec."""
        if model.uri.startswith("pvc://"):
            return claim_path(model.uri)
        return model_dir(self.pin(spec_field))

    def target(self) -> str:
        """Return the directory of the base target model."""
        return self.model(self.spec.trained.model, "target.model")

    def pin(self, spec_field: str) -> str:
        """Return the fingerprint of a reference, by its field in the spec."""
        for reference, pin in zip(self.plan.references, self.pins, strict=False):
            if reference.field == spec_field:
                return pin
        raise PlanError(f"{spec_field} is not pinned")
