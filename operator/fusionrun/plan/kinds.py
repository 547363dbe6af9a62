"""The kinds of stages: one row per kind, with its image, workload, credentials and role in the plan."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import Enum, StrEnum
from functools import cache

from fusionrun.api.spec.endpoints import ModelEndpoint
from fusionrun.api.spec.evaluation import Grader
from fusionrun.api.spec.resources import Resources
from fusionrun.api.spec.run import FusionRunSpec
from fusionrun.api.spec.training import Backend
from fusionrun.api.stage import PreflightSubject, StageKind
from fusionrun.settings import Images


class Workload(StrEnum):
    """The object that runs the pods of a stage."""

    JOB = "Job"
    SANDBOX_JOB = "SandboxJob"
    """A Job whose pods run untrusted programs in a second container (``objects.sandbox``)."""
    TRAINING_JOB = "TrainingJob"
    """An Indexed Job whose pods train together (``objects.training_job``)."""
    PYTORCH_JOB = "PyTorchJob"
    TRAIN_JOB = "TrainJob"
    DEPLOYMENT = "Deployment"

    @property
    def api_kind(self) -> str:
        """The ``kind`` of the object in the Kubernetes API."""
        return "Job" if self in (Workload.SANDBOX_JOB, Workload.TRAINING_JOB) else self.value

    @property
    def restarts_as_a_whole(self) -> bool:
        """Whether its pods work together, so that the operator restarts all of them if one is lost."""
        return self in (Workload.TRAINING_JOB, Workload.PYTORCH_JOB, Workload.TRAIN_JOB)

    @property
    def restart_policy(self) -> str:
        """The ``restartPolicy`` of its pods."""
        return "Always" if self is Workload.DEPLOYMENT else "Never"


class HubAccess(Enum):
    """Access of a pod to model hubs and object stores, which determines its credentials."""

    READ = "read"
    WRITE = "write"


class Report(Enum):
    """Part of the run's status that the result of a stage fills."""

    DATASET = "dataset"
    SCORES = "scores"
    COMPARISON = "comparison"


def _data_image(images: Images) -> str:
    return images.data


def _data_resources(spec: FusionRunSpec) -> Resources | None:
    return spec.data_stages.resources


def _reward_image(images: Images) -> str:
    return images.reward


def _train_image(images: Images) -> str:
    return images.train


def _training_resources(spec: FusionRunSpec) -> Resources | None:
    return spec.training.resources


def _reward_resources(spec: FusionRunSpec) -> Resources | None:
    return spec.reward_model.resources


@dataclass(frozen=True)
class KindTraits:
    """One row of the table. The defaults are those of a Job in the data image without network access."""

    image: Callable[[Images], str] = _data_image
    workload: Workload = Workload.JOB
    resources: Callable[[FusionRunSpec], Resources | None] | None = _data_resources
    """Field of the spec with the resources of a pod; None if the server's settings or the sandbox decide."""
    version: int = 1
    """Part of the digest. Raise it when the output changes for the same input, so that old artifacts are not reused."""
    hub: HubAccess | None = None
    """None: the pod runs offline and without credentials."""
    report: Report | None = None
    """A stage with a report runs even if its artifact is complete. Its pod reads the result from the manifest."""
    is_goal: bool = False
    """Whether a run needs its artifact even if another stage reads it."""
    has_artifact: bool = True
    """Whether it writes an artifact that a later run can reuse."""
    shared_memory: bool = False
    """Whether its pods run torch: they get ``/dev/shm`` and the operator's ``cpuEnvironment``."""
    serves_metrics: bool = False
    """Whether its pods serve Prometheus metrics."""

    @property
    def is_server(self) -> bool:
        """Whether it is a model server, which runs until it is deleted, and not a program that ends."""
        return self.workload is Workload.DEPLOYMENT

    @property
    def retried_by_operator(self) -> bool:
        """Whether the operator, and not the Job controller, retries it: as a whole, from its last checkpoint."""
        return self.workload.restarts_as_a_whole


@cache
def kind_traits(kind: StageKind) -> KindTraits:  # noqa: C901, PLR0911, PLR0912 -- one row per kind
    """Return the row of a kind."""
    match kind:
        case StageKind.RESOLVE:
            return KindTraits(hub=HubAccess.READ, has_artifact=False)
        case StageKind.FETCH:
            return KindTraits(hub=HubAccess.READ)
        case StageKind.PREPARE:
            return KindTraits(version=2)
        case StageKind.PREFLIGHT:  # the row of ``publishing``; ``stage_traits`` has those of the other subjects
            return KindTraits(hub=HubAccess.WRITE)
        case StageKind.SERVE:
            return KindTraits(
                image=lambda images: images.serve,
                workload=Workload.DEPLOYMENT,
                resources=None,
                has_artifact=False,
                shared_memory=True,
            )
        case StageKind.GENERATE:
            return KindTraits(version=2, serves_metrics=True)
        case StageKind.VERIFY:
            return KindTraits(version=3)
        case StageKind.SCORE:
            return KindTraits(
                image=_reward_image,
                version=2,
                resources=_reward_resources,
                shared_memory=True,
            )
        case StageKind.CONSTRUCT:
            return KindTraits(version=4, report=Report.DATASET, is_goal=True)
        case StageKind.SFT | StageKind.DPO:
            return KindTraits(
                image=_train_image,
                workload=Workload.TRAINING_JOB,
                version=2,
                resources=_training_resources,
                shared_memory=True,
            )
        case StageKind.PROMOTE:
            return KindTraits(
                image=_train_image,
                version=3,
                resources=_training_resources,
                is_goal=True,
                shared_memory=True,
            )
        case StageKind.JUDGE:
            return KindTraits(serves_metrics=True)
        case StageKind.EVALUATE:
            return KindTraits(version=2, report=Report.SCORES, is_goal=True)
        case StageKind.COMPARE:
            return KindTraits(report=Report.COMPARISON, is_goal=True)
        case StageKind.PUBLISH:
            return KindTraits(hub=HubAccess.WRITE)


_TRAINING = {Backend.PYTORCH_JOB: Workload.PYTORCH_JOB, Backend.TRAIN_JOB: Workload.TRAIN_JOB}


def stage_traits(
    kind: StageKind,
    grader: Grader | None,
    endpoint: ModelEndpoint | None,
    backend: Backend | None = None,
    check: PreflightSubject | None = None,
) -> KindTraits:
    """Return the row of a kind, changed for the stages that run in another way than their kind.

    ``verify`` with the grader Coding runs model-written programs, so it runs in the sandbox. ``score`` with an endpoint
    loads no model. ``backend`` is ``training.backend`` of a stage that trains, ``check`` the subject of ``preflight``.
    """
    traits = kind_traits(kind)
    if check is PreflightSubject.TRAINING:
        workload = Workload.TRAINING_JOB
        traits = KindTraits(_train_image, workload, _training_resources, traits.version, shared_memory=True)
    if check is PreflightSubject.REWARD:
        own = KindTraits(_reward_image, Workload.JOB, _reward_resources, traits.version, shared_memory=True)
        return own if endpoint is None else KindTraits(version=traits.version)
    if backend in _TRAINING:
        return replace(traits, workload=_TRAINING[backend])
    if kind is StageKind.VERIFY and grader is Grader.CODING:
        return replace(traits, image=lambda images: images.sandbox, workload=Workload.SANDBOX_JOB, resources=None)
    if kind is StageKind.SCORE and endpoint is not None:
        return replace(traits, image=_data_image, resources=_data_resources, shared_memory=False)
    return traits
