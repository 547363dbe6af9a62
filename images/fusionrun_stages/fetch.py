"""Download one model at its pinned revision and check that it is complete; skip files that are there already.

Usage: ``FUSIONRUN_TASK=task.json python -m fusionrun_stages fetch``
"""

import logging
import os
from pathlib import Path

from fusionrun.api.parameters import FetchParameters
from fusionrun.api.stage import FETCH_TARGET
from fusionrun.api.values import Fetched
from fusionrun_stages.errors import InfrastructureError
from fusionrun_stages.models.files import check_model
from fusionrun_stages.remote.hub import WORKERS, check_hashes, hub_client, hub_errors, hub_id, load_commit
from fusionrun_stages.remote.object_store import download_s3
from fusionrun_stages.work import Made, Work

log = logging.getLogger(__name__)

PATTERNS = ["*.safetensors", "*.json", "*.jinja", "*.txt", "*.model", "*.py", "*.md", "LICENSE*", "NOTICE*"]
"""Weights in safetensors, configuration, tokenizer, custom code and the model's card; no pickles."""


def run(work: Work) -> Made:
    """Download the model and check that it is complete."""
    parameters = work.parameters(FetchParameters)
    destination = Path(parameters.destination)
    destination.mkdir(parents=True, exist_ok=True)
    if parameters.uri.startswith("s3://"):
        download_s3(parameters.uri, destination, destination.name, PATTERNS)
    elif parameters.uri.startswith("hf://"):
        _download(parameters, destination, work)
    else:
        raise InfrastructureError(f"{parameters.uri!r} cannot be fetched: it is on the volume already")
    check_model(destination, parameters.uri, chat=work.task.stage == FETCH_TARGET)
    files = sorted(p for p in destination.rglob("*") if p.is_file() and ".cache" not in p.parts)
    size = sum(path.stat().st_size for path in files)
    log.info("fetched %s: %d files, %d bytes", parameters.uri, len(files), size)
    return Made(
        # Outside of the artifact's directory, but part of the artifact: if they are deleted, the stage runs again.
        files=[os.path.relpath(path, work.output) for path in files],
        values=Fetched(files=len(files), bytes=size),
        details={"uri": parameters.uri, "revision": parameters.revision, "destination": str(destination)},
    )


def _download(parameters: FetchParameters, destination: Path, work: Work) -> None:
    client = hub_client(parameters.hub_endpoint)
    # The folder's name is the pin. A branch may have moved since then.
    revision = load_commit(destination.name) or parameters.revision
    name = hub_id(parameters.uri)
    with hub_errors(parameters.uri, name):
        info = client.model_info(name, revision=revision, files_metadata=True)
        total = sum(s.size or 0 for s in info.siblings if s.rfilename.endswith(".safetensors"))
        work.report(0, total, "bytes")
        client.snapshot_download(
            name, revision=info.sha, local_dir=destination, allow_patterns=PATTERNS, max_workers=WORKERS
        )
        check_hashes(destination, info.siblings)
    work.report(total, total, "bytes")
