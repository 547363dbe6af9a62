"""Run one stage: ``python -m fusionrun_stages <kind>``; StageTask in, manifest and StageResult out.

The artifact's manifest is written after everything else, and the termination message after the manifest. An
artifact that is complete already is answered from its manifest, and one that another run's pod makes is waited for
(``lease``). Under torchrun every rank runs this: rank 0 takes the lease and writes the manifest, and a pod's first
failing rank its termination message.
"""

import importlib
import json
import logging
import os
import resource
import signal
import sys
import uuid
from contextlib import ExitStack, suppress
from pathlib import Path
from types import FrameType

from fusionrun.api.artifacts import Manifest, manifest_paths, shard_name
from fusionrun.api.records import SCHEMA_VERSION, replace_surrogates
from fusionrun.api.result import Outcome, StageResult, encode_result
from fusionrun.api.stage import StageKind
from fusionrun.api.task import (
    EXIT_INFRASTRUCTURE,
    PROGRESS_URL_ENV,
    TASK_PATH,
    TERMINATION_PATH,
    StageTask,
    decode_task,
)
from fusionrun_stages.errors import InfrastructureError, classify
from fusionrun_stages.pod.gpus import require_gpus
from fusionrun_stages.pod.lease import Holder, Lease
from fusionrun_stages.pod.progress import Pusher
from fusionrun_stages.volume.atomic import POD_UID_ENV, write_atomic
from fusionrun_stages.work import Made, Work

log = logging.getLogger("fusionrun_stages")

EXIT_TERMINATED = 128 + signal.SIGTERM
MESSAGE_CHARACTERS = 1024

_leases: list[Lease] = []
"""Of this process, to be given back when it is told to stop."""


def main(arguments: list[str]) -> int:
    """Run the stage of the kind named on the command line; return the exit code."""
    # Libraries may warn; only we tell how it goes.
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(message)s", stream=sys.stderr)
    log.setLevel(logging.INFO)
    signal.signal(signal.SIGTERM, _leave)
    try:
        result = run_stage(arguments)
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt):
            _leave(signal.SIGINT, None)
        failure = classify(error)
        if failure is error:
            log.error("%s", failure)  # noqa: TRY400 - our own errors explain themselves
        else:
            log.exception("%s", failure)
        _say_failed(str(failure), user_error=failure.is_user_error, server_wedged=failure.is_server_wedged)
        return failure.exit_code
    if _rank("LOCAL_RANK") == 0:
        _say(result)
    return 0


def run_stage(arguments: list[str]) -> StageResult:
    """Read the task, do it unless it is done, and write the manifest."""
    kind = StageKind(arguments[0]) if len(arguments) == 1 and arguments[0] in list(StageKind) else None
    if kind is None:
        raise InfrastructureError(f"usage: python -m fusionrun_stages <kind>, got {arguments}")
    task = decode_task(Path(os.environ.get("FUSIONRUN_TASK", TASK_PATH)).read_bytes())
    if task.parameters.kind is not kind:
        raise InfrastructureError(f"asked to run {kind}, but the task is of kind {task.parameters.kind}")
    shard = shard_of(task)
    output = Path(task.output_dir)
    output.mkdir(parents=True, exist_ok=True)
    pusher = Pusher(os.environ.get(PROGRESS_URL_ENV, ""))
    pod_uid = os.environ.get(POD_UID_ENV) or uuid.uuid4().hex
    work = Work(task=task, output=output, shard=shard, pod_uid=pod_uid, report=pusher)
    with ExitStack() as stack:
        stack.callback(pusher.close)
        if kind is not StageKind.RESOLVE:  # it looks anew, and writes into its run's own directory
            _take_lease(work, stack)
            manifest = read_manifest(manifest_path_of(task, shard), output)
            if manifest is not None:
                log.info("%s is complete already", task.stage)
                counts, numbers = manifest.counts, manifest.numbers
                return StageResult(outcome=Outcome.SUCCEEDED, cached=True, counts=counts, numbers=numbers)
        return _make(kind, work)


def _take_lease(work: Work, stack: ExitStack) -> None:
    """Wait until this pod may make the artifact, or another has made it; the stack gives the lease back."""
    task, manifest_path = work.task, manifest_path_of(work.task, work.shard)

    def wait(holder: Holder) -> None:
        log.info("%s is being made by pod %s of %s: waiting", task.stage, holder.pod_uid, holder.stage)
        work.report(0, 0, "waiting for another run")

    name = "lease.json" if work.shard is None else f"lease-{shard_name(work.shard, task.shards or 1)}.json"
    lease = Lease(
        work.output / name,
        Holder(f"{task.namespace}/{task.run}/{task.stage}", work.pod_uid),
        lambda: read_manifest(manifest_path, work.output) is not None,
        wait,
        _leave_to_successor,
    )
    if _rank("RANK"):
        lease.follow()
        return
    stack.callback(lease.release)
    _leases.append(lease)
    lease.take()


def _make(kind: StageKind, work: Work) -> StageResult:
    task, output = work.task, work.output
    require_gpus(task.gpus)
    module = importlib.import_module(f"fusionrun_stages.{kind}")
    made: Made = module.run(work)
    counts = made.counts | {"peak_memory_bytes": peak_memory_bytes()}
    if _rank("RANK") == 0:
        manifest = Manifest(
            schema_version=SCHEMA_VERSION,
            stage=task.stage,
            digest=task.digest,
            files={name: (output / name).stat().st_size for name in made.files},
            counts=counts,
            numbers=made.numbers,
            details=made.details,
        )
        write_atomic(manifest_path_of(task, work.shard), manifest.model_dump_json(indent=1).encode())
    return StageResult(
        outcome=Outcome.SUCCEEDED,
        counts=counts,
        numbers=made.numbers,
        pins=made.pins,
        complete=made.complete,
    )


def shard_of(task: StageTask) -> int | None:
    """Return this pod's shard: the completion index of an Indexed Job, or None."""
    if task.shards is None:
        return None
    text = os.environ.get("JOB_COMPLETION_INDEX", "")
    if not text.isdecimal() or int(text) >= task.shards:
        raise InfrastructureError(f"JOB_COMPLETION_INDEX is {text!r}, not an index below {task.shards}")
    return int(text)


def manifest_path_of(task: StageTask, shard: int | None) -> Path:
    """Return where this pod's manifest belongs."""
    if shard is None or task.shards is None:
        return Path(manifest_paths(task.output_dir, None)[0])
    return Path(task.output_dir) / "manifests" / f"{shard_name(shard, task.shards)}.json"


def read_manifest(path: Path, output: Path) -> Manifest | None:
    """Return the manifest when it is there and every file that it names has its size, else None."""
    try:
        manifest = Manifest.model_validate(json.loads(path.read_bytes()))
        whole = all((output / name).stat().st_size == size for name, size in manifest.files.items())
    except (OSError, ValueError):
        return None
    return manifest if whole and manifest.schema_version == SCHEMA_VERSION else None


def peak_memory_bytes() -> int:
    """Return the largest resident memory of this process or of its largest finished child.

    Not their sum: a forked child counts the memory that it shares with its parent.
    """
    # Linux counts ru_maxrss in KiB (getrusage(2)).
    mine = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    children = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    return max(mine, children) * 1024


def _rank(variable: str) -> int:
    return int(os.environ.get(variable, "0"))


def _termination_path() -> Path:
    return Path(os.environ.get("FUSIONRUN_TERMINATION", TERMINATION_PATH))


def _say(result: StageResult) -> None:
    # Written in place: the kubelet has mounted this very file.
    try:
        _termination_path().write_text(encode_result(result))
    except OSError as error:
        log.warning("cannot write the termination message: %s", error)


def _say_failed(message: str, *, user_error: bool, server_wedged: bool = False) -> None:
    # The rank that failed first knows why; the others die of its death.
    try:
        if _termination_path().stat().st_size:
            return
    except OSError:
        pass
    said = replace_surrogates(message[:MESSAGE_CHARACTERS])
    _say(StageResult(outcome=Outcome.FAILED, user_error=user_error, server_wedged=server_wedged, message=said))


def _leave(number: int, _: FrameType | None) -> None:
    # At once, whatever the stage does: what it wrote so far is resumed by its successor.
    _say_failed(f"told to stop by {signal.Signals(number).name}", user_error=False)
    for lease in _leases:
        with suppress(OSError):  # a volume that is gone: others wait until the lease is stale
            lease.release()
    os._exit(128 + number)


def _leave_to_successor() -> None:
    # At once and by no exception: only the main thread could raise it, and it may be in the middle of a write.
    _say_failed("another pod makes this artifact now: this one was taken for dead", user_error=False)
    os._exit(EXIT_INFRASTRUCTURE)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
