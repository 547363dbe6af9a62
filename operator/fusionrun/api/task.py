"""The words between operator and pod: a StageTask is asked, a StageResult answers, Progress comes between.

The operator writes a task into a ConfigMap, the pod reads it at ``TASK_PATH`` with the same class. The pod's
last words are a StageResult in its termination message; the manifest on the volume is the truth, and the
message is a copy. The pod's image is that of the release which accepted the run, and the operator may be of any other:
a task leaves out every field that is at its default, and a reader ignores the fields that it does not know.
"""

import json

from pydantic import ValidationError

from fusionrun.api.contract import Contract
from fusionrun.api.parameters import Parameters
from fusionrun.errors import ContractError

CONTRACT_VERSION = 1
TASK_PATH = "/etc/fusionrun/task.json"
TERMINATION_PATH = "/dev/termination-log"
PROGRESS_URL_ENV = "FUSIONRUN_PROGRESS_URL"
METRICS_PORT_ENV = "FUSIONRUN_METRICS_PORT"
METRICS_PORT = 9464
"""Where a generation's client serves ``/metrics``. Source: the port of OpenTelemetry's Prometheus exporter."""

EXIT_USER_ERROR = 2
"""Exit code of the user's error (bad content): never tried again."""
EXIT_INFRASTRUCTURE = 130
"""Exit code of an error that may pass. Source: PyTorchJob's ExitCode policy, 1-127 permanent, 128-255 retryable."""

EXIT_SERVER_WEDGED = 131
"""Exit code of a generation whose server takes no more tokens: the server is restarted, then it is tried again."""

LOST_PEER = "lost a peer"
"""How the message of a rank begins that died because another one had."""


class StageTask(Contract):
    """What a pod is asked to do."""

    version: int = CONTRACT_VERSION
    run: str
    namespace: str
    stage: str
    digest: str
    output_dir: str
    shards: int | None = None
    """Of an Indexed stage; the pod's index is in JOB_COMPLETION_INDEX."""
    gpus: int = 0
    """GPUs that each pod of the stage holds. A pod that cannot use as many fails; with 0 it runs on CPUs."""
    parameters: Parameters


def encode_task(task: StageTask) -> str:
    """Return the task as JSON text without the fields that are at their defaults, but for ``version`` and ``kind``.

    An image of an older release can therefore read the task of a newer operator, unless the run uses what is new.
    """
    written = {"version": task.version, **task.model_dump(mode="json", exclude_defaults=True)}
    written["parameters"] = {"kind": task.parameters.kind, **written["parameters"]}
    return json.dumps(written)


def decode_task(text: str | bytes) -> StageTask:
    """Read a task.

    Raises
    ------
    ContractError
        If a field cannot be read; it names the field.
    """
    try:
        return StageTask.model_validate_json(text)
    except ValidationError as error:
        first = error.errors()[0]
        raise ContractError(CONTRACT_VERSION, ".".join(str(p) for p in first["loc"])) from error
