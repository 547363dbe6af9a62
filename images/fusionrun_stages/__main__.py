"""Run one stage: ``python -m fusionrun_stages <kind>`` reads a StageTask and writes a manifest and a StageResult.

The manifest is written after every other file of the artifact, and the termination message after the manifest. If the
artifact is complete already, the result comes from its manifest. If a pod of another run produces it, this pod waits
(``pod/lease.py``). Under torchrun every rank runs this module: rank 0 takes the lease and writes the manifest; the
termination message of a pod comes from its first rank that fails.
"""

import importlib
import logging
import os
import signal
import sys
import threading
import uuid
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import replace
from pathlib import Path
from types import FrameType

from fusionrun.api.artifacts import ArtifactManifest, lease_name
from fusionrun.api.pod import (
    COMPLETION_INDEX_ENV,
    EXIT_INFRASTRUCTURE,
    POD_UID_ENV,
    PROGRESS_URL_ENV,
    STALL_SECONDS_ENV,
    TASK_DIGEST_ENV,
    TASK_ENV,
    TASK_PATH,
)
from fusionrun.api.records import SCHEMA_VERSION
from fusionrun.api.results.result import STOPPED, Outcome, StageResult
from fusionrun.api.stage import StageKind
from fusionrun.api.tasks.task import StageTask, decode_task, task_digest
from fusionrun_stages.errors import InfrastructureError, ServerStalledError, UserError, classify
from fusionrun_stages.pod.gpus import require_gpus
from fusionrun_stages.pod.lease import Holder, Lease
from fusionrun_stages.pod.log_format import configure_log
from fusionrun_stages.pod.process import peak_memory_bytes, raise_open_files
from fusionrun_stages.pod.progress import Pusher
from fusionrun_stages.pod.shards import Worker, make_shards
from fusionrun_stages.pod.termination import write_failure, write_result
from fusionrun_stages.pod.watchdog import Watchdog
from fusionrun_stages.volume.manifest import read_manifest, write_manifest
from fusionrun_stages.work import Made, Work

log = logging.getLogger("fusionrun_stages")

RELEASE_SECONDS = 10.0
"""Maximum time to release the leases of a stalled stage."""
_leases: list[Lease] = []
"""Leases of this process, to be released on a signal."""


def main(arguments: list[str]) -> int:
    """Run the stage of the kind named on the command line; return the exit code."""
    configure_log()
    signal.signal(signal.SIGTERM, _leave)
    raise_open_files()
    try:
        result = run_stage(arguments)
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt):
            _leave(signal.SIGINT, None)
        failure = classify(error)
        if failure is error:
            log.error("%s", failure)  # noqa: TRY400 - these errors need no traceback
        else:
            log.exception("%s", failure)
        write_failure(
            str(failure),
            user_error=isinstance(failure, UserError),
            server_stalled=isinstance(failure, ServerStalledError),
        )
        return failure.exit_code
    if _rank("LOCAL_RANK") == 0:
        write_result(result)
    return 0


def run_stage(arguments: list[str]) -> StageResult:
    """Read the task, make its artifact unless it is complete, and write the manifest."""
    kind = StageKind(arguments[0]) if len(arguments) == 1 and arguments[0] in list(StageKind) else None
    if kind is None:
        raise InfrastructureError(f"usage: python -m fusionrun_stages <kind>, got {arguments}")
    task = _read_task()
    if task.parameters.kind is not kind:
        raise InfrastructureError(f"the command line has kind {kind}, the task has kind {task.parameters.kind}")
    shard = shard_of(task)
    output = Path(task.output_dir)
    output.mkdir(parents=True, exist_ok=True)
    # The other ranks report to their watchdog only: a rank that saves no checkpoints reads and writes next to nothing.
    pusher = Pusher(os.environ.get(PROGRESS_URL_ENV, "") if _rank("RANK") == 0 else "")
    watchdog = Watchdog(pusher, float(os.environ.get(STALL_SECONDS_ENV) or 0), _leave_stalled)
    pod_uid = os.environ.get(POD_UID_ENV) or uuid.uuid4().hex
    work = Work(task=task, output=output, shard=shard, pod_uid=pod_uid, report=watchdog)
    with ExitStack() as stack:
        stack.callback(pusher.close)
        stack.callback(watchdog.stop)
        if task.workers is not None and task.shards is not None:
            watchdog.start()
            return _make_shards(kind, work, Worker(_stage_of(task), _completion_index(), task.workers))
        if kind is not StageKind.RESOLVE:  # it runs every time, and writes to the directory of its run
            _take_lease(work, stack)
            manifest = read_manifest(output, kind, shard, task.shards)
            if manifest is not None:
                log.info("%s is complete already", task.stage)
                return StageResult(
                    outcome=Outcome.SUCCEEDED,
                    cached=True,
                    peak_memory_bytes=manifest.peak_memory_bytes,
                    values=manifest.values,
                )
        watchdog.start()
        require_gpus(task.gpus)
        return _make(work, importlib.import_module(f"fusionrun_stages.{kind}").run)


def _read_task() -> StageTask:
    """Read the task that the operator wrote for this pod, and no other.

    Notes
    -----
    A retry may succeed: as long as an earlier pod of the stage is on the node, the kubelet mounts the content of the
    immutable ConfigMap that it knows, even if another one has its name now. Source: Kubernetes,
    pkg/kubelet/util/manager/watch_based_manager.go.
    """
    content = Path(os.environ.get(TASK_ENV, TASK_PATH)).read_bytes()
    expected = os.environ.get(TASK_DIGEST_ENV)  # operators up to 0.2.0 do not set it
    if expected and task_digest(content) != expected:
        raise InfrastructureError(
            "the task is not the one that the operator wrote: if a retry does not help, somebody replaced the "
            "ConfigMap of this stage: find out who may write ConfigMaps in this namespace, then create the run again"
        )
    return decode_task(content)


def _take_lease(work: Work, stack: ExitStack) -> None:
    """Wait until this pod holds the lease or the artifact is complete; the stack releases the lease."""
    task = work.task

    def wait(holder: Holder) -> None:
        log.info("%s: pod %s of %s produces this artifact: waiting", task.stage, holder.pod_uid, holder.stage)
        work.report(0, 0, "waiting for another run")

    lease = _lease(work, Holder(_stage_of(task), work.pod_uid), wait)
    if _rank("RANK"):
        lease.follow()
        return
    stack.callback(lease.release)
    _leases.append(lease)
    lease.take()


def _lease(work: Work, holder: Holder, wait: Callable[[Holder], None]) -> Lease:
    task = work.task
    return Lease(
        work.output / lease_name(work.shard, task.shards),
        holder,
        lambda: read_manifest(work.output, task.parameters.kind, work.shard, task.shards) is not None,
        wait,
        _leave_to_successor,
    )


def _stage_of(task: StageTask) -> str:
    return f"{task.namespace}/{task.run}/{task.stage}"


def _make_shards(kind: StageKind, work: Work, worker: Worker) -> StageResult:
    """Make shards until none is left. The model is loaded with the first one."""
    module = importlib.import_module(f"fusionrun_stages.{kind}")
    started: list[Callable[[Work], Made]] = []

    def lease_of(shard: int) -> Lease:
        # A pod holds one lease at a time; that of a loop which has ended is released.
        lease = _lease(replace(work, shard=shard), worker.holder(work.pod_uid), lambda _: None)
        _leases[:] = [lease]
        return lease

    def make(shard: Work) -> None:
        if not started:
            require_gpus(work.task.gpus)
            started.append(module.start(work))
        _make(shard, started[0], worker)

    manifests = make_shards(work, worker, lease_of, make)
    return StageResult(
        outcome=Outcome.SUCCEEDED,
        cached=not started,
        peak_memory_bytes=peak_memory_bytes(),
        values=module.total(manifest.values for manifest in manifests),
    )


def _make(work: Work, run: Callable[[Work], Made], worker: Worker | None = None) -> StageResult:
    task, output = work.task, work.output
    made = run(work)
    memory = peak_memory_bytes()
    if _rank("RANK") == 0:
        manifest = ArtifactManifest(
            schema_version=SCHEMA_VERSION,
            stage=task.stage,
            digest=task.digest,
            files={name: (output / name).stat().st_size for name in made.files},
            peak_memory_bytes=memory,
            values=made.values,
            details=made.details | (worker.details if worker else {}),
        )
        write_manifest(output, manifest, work.shard, task.shards)
    return StageResult(outcome=Outcome.SUCCEEDED, peak_memory_bytes=memory, values=made.values)


def shard_of(task: StageTask) -> int | None:
    """Return this pod's shard: the completion index of an Indexed Job; None without shards, or if it takes any."""
    if task.shards is None or task.workers is not None:
        return None
    index = _completion_index()
    if index >= task.shards:
        raise InfrastructureError(f"{COMPLETION_INDEX_ENV} is {index}, not an index below {task.shards}")
    return index


def _completion_index() -> int:
    text = os.environ.get(COMPLETION_INDEX_ENV, "")
    if not text.isdecimal():
        raise InfrastructureError(f"{COMPLETION_INDEX_ENV} is {text!r}, not an index")
    return int(text)


def _rank(variable: str) -> int:
    return int(os.environ.get(variable, "0"))


def _leave(number: int, _: FrameType | None) -> None:
    # Exit at once: the next pod resumes from the files on the volume.
    name = signal.Signals(number).name
    write_failure(STOPPED if number == signal.SIGTERM else f"stopped by {name}", user_error=False)
    _release_leases()
    os._exit(128 + number)


def _leave_to_successor() -> None:
    _exit_from_thread("another pod produces this artifact now: the lease of this pod expired")


def _leave_stalled(message: str) -> None:
    # The volume may be what blocks the stage. Other pods then wait until the lease is stale.
    release = threading.Thread(target=_release_leases, name="release", daemon=True)
    release.start()
    release.join(RELEASE_SECONDS)
    _exit_from_thread(message)


def _release_leases() -> None:
    for lease in _leases:
        with suppress(OSError):
            lease.release()


def _exit_from_thread(message: str) -> None:
    # Exit at once. An exception would end only this background thread.
    write_failure(message, user_error=False)
    os._exit(EXIT_INFRASTRUCTURE)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
