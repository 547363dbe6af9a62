"""Which kind of object trains: what each backend needs in the cluster, and the choice of ``training.backend: Auto``."""

from fusionrun.api.contract import Manifest
from fusionrun.api.spec.run import FusionRunSpec
from fusionrun.api.spec.training import Backend, GangScheduler
from fusionrun.state.observe.object_ref import ObjectRef


def _crd(name: str) -> ObjectRef:
    return ObjectRef("apiextensions.k8s.io/v1", "CustomResourceDefinition", "", name)


NEEDED: dict[Backend, tuple[ObjectRef, ...]] = {
    Backend.PYTORCH_JOB: (_crd("pytorchjobs.kubeflow.org"),),
    Backend.TRAIN_JOB: (_crd("trainjobs.trainer.kubeflow.org"), _crd("jobsets.jobset.x-k8s.io")),
    Backend.JOB: (),
}
"""What must exist for each backend, in the order in which ``Auto`` tries them: first the one of earlier releases."""

POD_GROUP_CRDS = {
    GangScheduler.COSCHEDULING: _crd("podgroups.scheduling.x-k8s.io"),
    GangScheduler.VOLCANO: _crd("podgroups.scheduling.volcano.sh"),
}


def recorded_backend(run: Manifest) -> Backend | None:
    """Return the backend in the status of a run: the one it was accepted with; None before that."""
    recorded = (run.get("status") or {}).get("trainingBackend")
    return Backend(recorded) if recorded in list(NEEDED) else None


def needed_for(backend: Backend) -> tuple[ObjectRef, ...]:
    """Return what must exist for a backend; for ``Auto`` everything that its choice depends on."""
    return tuple(ref for refs in NEEDED.values() for ref in refs) if backend is Backend.AUTO else NEEDED[backend]


def with_backend(spec: FusionRunSpec, run: Manifest, present: dict[ObjectRef, bool]) -> FusionRunSpec:
    """Return the spec with the backend instead of ``Auto``: the recorded one, else the first that is served."""
    if spec.training.backend is not Backend.AUTO:
        return spec
    served = (backend for backend, refs in NEEDED.items() if all(present.get(ref) for ref in refs))
    chosen = recorded_backend(run) or next(served)
    return spec.model_copy(update={"training": spec.training.model_copy(update={"backend": chosen})})
