"""Run a part of the harness in a Python process of its own, with the folder of its data sets.

``datasets`` and ``huggingface_hub`` read their folder and whether they are offline at import, once. A process per task
also gives its memory back, and keeps what the code of a task changes (seeds, loggers) out of the stage.
"""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fusionrun_stages.errors import InfrastructureError, StageError, UserError
from fusionrun_stages.work import Report

OTHER_FOLDERS = ("HF_DATASETS_CACHE", "HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "HF_MODULES_CACHE", "HF_EVALUATE_CACHE")
"""Variables that would lead parts of the data to other folders than ``HF_HOME``."""
QUIET = {
    "TQDM_DISABLE": "1",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "HF_DATASETS_DISABLE_PROGRESS_BARS": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "PYTHONWARNINGS": "ignore",
    "TOKENIZERS_PARALLELISM": "false",
}
"""Variables without which the libraries fill the log. Sources: tqdm 4.66; huggingface_hub, "Environment variables"."""
SIGKILL_STATUS = -signal.SIGKILL


def call(
    action: str,
    arguments: Mapping[str, Any],
    folder: Path,
    *,
    offline: bool,
    endpoint: str | None = None,
    report: Report | None = None,
) -> Any:
    """Run one action of ``__main__`` and return its result.

    Parameters
    ----------
    action
        Name of the action.
    arguments
        Its arguments, as JSON.
    folder
        Folder of the data sets, ``HF_HOME``.
    offline
        Whether the process may read only the folder.
    endpoint
        Address of the hub; None for that of ``HF_ENDPOINT``, or the default one.
    report
        Called with the progress of the action.

    Raises
    ------
    StageError
        The error of the action, or InfrastructureError if the process ended without a result.
    """
    command = [sys.executable, "-m", "fusionrun_stages.harness", action]
    environment = _environment(folder, endpoint, offline=offline)
    with subprocess.Popen(
        command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, encoding="utf-8"
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            process.stdin.write(json.dumps(arguments))
            process.stdin.close()
            for line in process.stdout:
                message = json.loads(line)
                if "result" in message:
                    return message["result"]
                if "error" in message:
                    raise _error(message)
                if report is not None:
                    report(*message["progress"], **message["numbers"])
        except BrokenPipeError:
            pass  # it ended before it read its arguments
        except BaseException:
            process.kill()
            raise
    status = process.returncode
    reason = " (killed: the memory limit of the pod may be too small)" if status == SIGKILL_STATUS else ""
    raise InfrastructureError(f"the process of lm-eval ended with status {status}{reason}; its log says why")


def _error(message: Mapping[str, Any]) -> StageError:
    kinds = {kind.__name__: kind for kind in (UserError, *_all(InfrastructureError))}
    return kinds.get(message["error"], InfrastructureError)(message["message"])


def _all(kind: type[StageError]) -> list[type[StageError]]:
    return [kind, *(one for child in kind.__subclasses__() for one in _all(child))]


def _environment(folder: Path, endpoint: str | None, *, offline: bool) -> dict[str, str]:
    environment = {name: value for name, value in os.environ.items() if name not in OTHER_FOLDERS}
    flag = "1" if offline else "0"
    environment |= QUIET | {"HF_HOME": str(folder), "HF_HUB_OFFLINE": flag, "HF_DATASETS_OFFLINE": flag}
    if endpoint:
        environment["HF_ENDPOINT"] = endpoint
    return environment
