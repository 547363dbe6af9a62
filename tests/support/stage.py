"""Run a stage in this process, on rows with defaults for the fields that a test does not need."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel

from fusionrun.api.records import Prompt, Response
from fusionrun.api.tasks.task import StageTask
from fusionrun_stages.volume.parquet import read_rows, write_rows
from fusionrun_stages.volume.paths import shard_path
from fusionrun_stages.work import Work

Row = TypeVar("Row", bound=BaseModel)


def make_work(
    output: Path, parameters: Any, stage: str | None = None, *, digest="d", shard=None, uid="u", report=None
) -> Work:
    """Return the work of a pod; ``parameters`` has its ``kind``, and ``shards`` if there is a shard."""
    fields = parameters if isinstance(parameters, dict) else dict(parameters)
    names = {"run": "r", "namespace": "n", "stage": stage or fields["kind"], "digest": digest}
    shards = None if shard is None else fields["shards"]
    output.mkdir(parents=True, exist_ok=True)
    task = StageTask(**names, output_dir=str(output), shards=shards, parameters=parameters)
    return Work(task=task, output=output, shard=shard, pod_uid=uid, report=report or (lambda *_, **__: None))


def prompt(name: str, **fields: Any) -> Prompt:
    return Prompt(**{"prompt_id": name, "dataset": "d", "task": "Mathematics", "prompt": "?"} | fields)


def response(name: str, text: str = "", sample: int = 0, finish: str = "stop", **fields: Any) -> Response:
    key = {"prompt_id": name, "dataset": "d", "source": "s", "sample_index": sample}
    return Response(**key | {"text": text, "finish_reason": finish} | fields)


def write_inputs(
    folder: Path, prompts: Iterable[Prompt], responses: Iterable[Response], shard=0, shards=1, model=Prompt
) -> dict:
    """Write the rows of one shard; return the parameters that name the folders."""
    write_rows(shard_path(folder / "prompts", shard, shards), model, prompts)
    write_rows(shard_path(folder / "responses", shard, shards), Response, responses)
    folders = {f"{name}_dir": str(folder / name) for name in ("prompts", "responses")}
    return folders | {"shards": shards}


def read_shards(folder: Path, model: type[Row]) -> list[Row]:
    """Read the rows of all shards."""
    return [row for path in sorted(folder.iterdir()) for row in read_rows(path, model)]
