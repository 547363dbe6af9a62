"""Run a stage in this process."""

from pathlib import Path
from typing import Any

from fusionrun.api.task import StageTask
from fusionrun_stages.work import Work


def make_work(output: Path, parameters: Any, stage: str | None = None, digest: str = "d") -> Work:
    """Return the work of a stage without shards; ``parameters`` has its ``kind``."""
    kind = parameters["kind"] if isinstance(parameters, dict) else parameters.kind
    task = StageTask(
        run="r", namespace="n", stage=stage or kind, digest=digest, output_dir=str(output), parameters=parameters
    )
    output.mkdir(exist_ok=True)
    return Work(task=task, output=output, shard=None, pod_uid="u", report=lambda *_, **__: None)
