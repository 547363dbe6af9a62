"""The task of a stage's pod.

The operator writes it to a ConfigMap, and the pod reads it at ``pod.TASK_PATH`` with the same class. The pod's image is
that of the release that accepted the run, and the operator may be of any other release: a task leaves out every field
that has its default, and a reader ignores the fields that it does not know.
"""

import hashlib
import json

from pydantic import ValidationError

from fusionrun.api.contract import Contract
from fusionrun.api.tasks.parameters import Parameters
from fusionrun.errors import ContractError

CONTRACT_VERSION = 1
"""Version of tasks and results. It is for people and error messages: no reader depends on it."""


class StageTask(Contract):
    """The task of a stage's pods."""

    version: int = CONTRACT_VERSION
    run: str
    namespace: str
    stage: str
    digest: str
    output_dir: str
    shards: int | None = None
    """Number of shards of an Indexed stage; ``pod.COMPLETION_INDEX_ENV`` holds the pod's shard."""
    workers: int | None = None
    """Number of pods that take the shards in turn; ``pod.COMPLETION_INDEX_ENV`` then holds the pod's number. None: each
    pod makes the shard of its index."""
    gpus: int = 0
    """GPUs of each pod. A pod that cannot use all of them fails; with 0 it runs on CPUs."""
    parameters: Parameters


def encode_task(task: StageTask) -> str:
    """Return the task as JSON without the fields that have their defaults, except ``version`` and ``kind``.

    An image of an older release can therefore read the task of a newer operator, unless the run uses a new field.
    """
    written = {"version": task.version, **task.model_dump(mode="json", exclude_defaults=True)}
    written["parameters"] = {"kind": task.parameters.kind, **written["parameters"]}
    return json.dumps(written)


def task_digest(content: bytes) -> str:
    """Return the SHA-256 of an encoded task, by which a workload and its pods recognise their task."""
    return hashlib.sha256(content).hexdigest()


def decode_task(text: str | bytes) -> StageTask:
    """Read a task.

    Raises
    ------
    ContractError
        If a field cannot be read. The error names the field.
    """
    try:
        return StageTask.model_validate_json(text)
    except ValidationError as error:
        first = error.errors()[0]
        raise ContractError(CONTRACT_VERSION, ".".join(str(p) for p in first["loc"])) from error
