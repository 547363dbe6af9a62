"""Download one model at its pinned revision, whole or not at all; what is there already is not fetched again."""

import logging
import os
from pathlib import Path

from fusionrun.api.parameters import FetchParameters
from fusionrun_stages.errors import InfrastructureError
from fusionrun_stages.models.files import check_model
from fusionrun_stages.remote.hub import WORKERS, ask_hub, hub_api, hub_id
from fusionrun_stages.remote.object_store import download_s3
from fusionrun_stages.remote.pins import noted_revision
from fusionrun_stages.work import Made, Work

log = logging.getLogger(__name__)

PATTERNS = ["*.safetensors", "*.json", "*.jinja", "*.txt", "*.model", "*.py", "*.md", "LICENSE*", "NOTICE*"]
"""Weights in safetensors, configuration, tokenizer, the model's own code and its card; no pickles."""

TARGET_STAGE = "fetch/target"
"""What is trained needs a chat template. ``resolve`` has looked for it on a hub; in an object store this is the first
look, and the last before anything is generated."""


def run(work: Work) -> Made:
    """Fetch the model into ``destination`` and check that it is whole."""
    parameters = work.task.parameters
    assert isinstance(parameters, FetchParameters)
    destination = Path(parameters.destination)
    destination.mkdir(parents=True, exist_ok=True)
    if parameters.uri.startswith("s3://"):
        download_s3(parameters.uri, destination)
    elif parameters.uri.startswith("hf://"):
        _download(parameters, destination, work)
    else:
        raise InfrastructureError(f"{parameters.uri!r} needs no fetching: it is used where it lies")
    check_model(destination, parameters.uri, chat=work.task.stage == TARGET_STAGE)
    files = sorted(p for p in destination.rglob("*") if p.is_file() and ".cache" not in p.parts)
    size = sum(path.stat().st_size for path in files)
    log.info("fetched %s: %d files, %d bytes", parameters.uri, len(files), size)
    return Made(
        # Beside the artifact, and yet part of it: a model that somebody deleted is fetched again.
        files=[os.path.relpath(path, work.output) for path in files],
        counts={"files": len(files), "bytes": size},
        details={"uri": parameters.uri, "revision": parameters.revision, "destination": str(destination)},
    )


def _download(parameters: FetchParameters, destination: Path, work: Work) -> None:
    api = hub_api(parameters.hub_endpoint)
    # The destination is named by the pin: a branch may have moved since it was pinned.
    revision = noted_revision(destination.name) or parameters.revision
    name = hub_id(parameters.uri)
    info = ask_hub(parameters.uri, name, lambda: api.model_info(name, revision=revision, files_metadata=True))
    total = sum(s.size or 0 for s in info.siblings if s.rfilename.endswith(".safetensors"))
    work.report(0, total, "bytes")
    ask_hub(
        parameters.uri,
        name,
        lambda: api.snapshot_download(
            name, revision=info.sha, local_dir=destination, allow_patterns=PATTERNS, max_workers=WORKERS
        ),
    )
    work.report(total, total, "bytes")
