"""The termination message of a pod: the result of its stage, from which the operator reads numbers and failures."""

import logging
import os
from pathlib import Path

from fusionrun.api.pod import TERMINATION_ENV, TERMINATION_PATH
from fusionrun.api.records import replace_surrogates
from fusionrun.api.results.result import Outcome, StageResult, encode_result
from fusionrun_stages.errors import escape_controls
from fusionrun_stages.pod import checkpoint

log = logging.getLogger("fusionrun_stages")

MESSAGE_CHARACTERS = 1024


def _path() -> Path:
    return Path(os.environ.get(TERMINATION_ENV, TERMINATION_PATH))


def write_result(result: StageResult) -> None:
    """Write the result; only warn if that fails."""
    # Not atomic: the kubelet has mounted this file, so it cannot be replaced.
    try:
        _path().write_text(encode_result(result), encoding="utf-8")
    except OSError as error:
        log.warning("cannot write the termination message: %s", error)


def write_failure(message: str, *, user_error: bool, server_stalled: bool = False) -> None:
    """Write the result of a failed stage, unless there is one.

    The message of the rank that failed first is kept: the other ranks fail because it has exited.
    """
    try:
        if _path().stat().st_size:
            return
    except OSError:
        pass
    text = escape_controls(replace_surrogates(message[:MESSAGE_CHARACTERS]))[:MESSAGE_CHARACTERS]
    write_result(
        StageResult(
            outcome=Outcome.FAILED,
            user_error=user_error,
            server_wedged=server_stalled,
            message=text,
            checkpoint_step=checkpoint.newest(),
        )
    )
