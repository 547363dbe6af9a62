"""Run a part of the harness in a Python process of its own, with the folder of its data sets.

``datasets`` and ``huggingface_hub`` read their folder and whether they are offline at import, once. A process per task
also gives its memory back, and keeps what the code of a task changes (seeds, loggers) out of the stage.
"""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from fusionrun_stages.errors import InfrastructureError, ServerStalledError, StageError, UserError
from fusionrun_stages.work import Report

OTHER_FOLDERS = ("HF_DATASETS_CACHE", "HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "HF_MODULES_CACHE", "HF_EVALUATE_CACHE")
"""Variables that would lead parts of the data to other folders than ``HF_HOME``."""
QUIET = {
    "TQDM_DISABLE": "1",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "HF_DATASETS_DISABLE_PROGRESS_BARS": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "DATASETS_VERBOSITY": "error",
    "HF_HUB_VERBOSITY": "error",
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
        except BrokenPipeError:
            pass  # it ended before it read its arguments
        try:
            last = _follow(process.stdout, report)
        except BaseException:
            process.kill()
            raise
    if "error" in last:
        raise _error(last)
    if "result" in last:
        return last["result"]
    status = process.returncode
    reason = " (killed: the memory limit of the pod may be too small)" if status == SIGKILL_STATUS else ""
    raise InfrastructureError(f"the process of lm-eval ended with status {status}{reason}; its log says why")


def _follow(messages: Iterable[str], report: Report | None) -> dict[str, Any]:
    """Report the progress of the process; return its last message."""
    last: dict[str, Any] = {}
    for line in messages:
        last = json.loads(line)
        if "progress" in last and report is not None:
            report(*last["progress"], **last["numbers"])
    return last


def _error(message: Mapping[str, str]) -> StageError:
    """Return the error that a message describes."""
    kinds: dict[str, type[StageError]] = {kind.__name__: kind for kind in (UserError, ServerStalledError)}
    return kinds.get(message["error"], InfrastructureError)(message["message"])


def _environment(folder: Path, endpoint: str | None, *, offline: bool) -> dict[str, str]:
    environment = {name: value for name, value in os.environ.items() if name not in OTHER_FOLDERS}
    flag = "1" if offline else "0"
    environment |= QUIET | {"HF_HOME": str(folder), "HF_HUB_OFFLINE": flag, "HF_DATASETS_OFFLINE": flag}
    nltk = folder / "nltk_data"  # IFEval downloads the rules of sentences to the first folder of NLTK that exists
    environment["NLTK_DATA"] = str(nltk)
    if not offline:
        nltk.mkdir(parents=True, exist_ok=True)
    if endpoint:
        environment["HF_ENDPOINT"] = endpoint
    return environment
