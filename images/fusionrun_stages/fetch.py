"""Download one model at its pinned revision, in one format of its weights; skip files that are there already.

After the download, check that the model is complete.

Usage: ``FUSIONRUN_TASK=task.json python -m fusionrun_stages fetch``
"""

import glob
import logging
import os
from pathlib import Path

from fusionrun.api.results.values import Fetched
from fusionrun.api.stage import FETCH_EVALUATED, FETCH_TARGET
from fusionrun.api.tasks.parameters import FetchParameters
from fusionrun_stages.errors import InfrastructureError
from fusionrun_stages.models.files import check_model
from fusionrun_stages.models.weights import files_of
from fusionrun_stages.pod.downloads import reporting_bytes
from fusionrun_stages.remote.hub import WORKERS, check_hashes, hub_client, hub_errors, hub_id, hub_shards, load_commit
from fusionrun_stages.remote.object_store import download_s3, s3_files, s3_shards
from fusionrun_stages.work import Made, Work

log = logging.getLogger(__name__)


def run(work: Work) -> Made:
    """Download the model and check that it is complete."""
    parameters = work.parameters(FetchParameters)
    destination = Path(parameters.destination)
    destination.mkdir(parents=True, exist_ok=True)
    if parameters.uri.startswith("s3://"):
        found = s3_files(parameters.uri)
        names = files_of(found, s3_shards(parameters.uri, found))
        with reporting_bytes(destination, sum(found[name]["size"] for name in names), work.report):
            download_s3(parameters.uri, destination, destination.name, names)
    elif parameters.uri.startswith("hf://"):
        _download(parameters, destination, work)
    else:
        raise InfrastructureError(f"{parameters.uri!r} cannot be fetched: it is on the volume already")
    stage = work.task.stage
    chats = stage == FETCH_TARGET or stage.startswith(FETCH_EVALUATED)
    check_model(destination, parameters.uri, chat=chats)
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
        sizes = {s.rfilename: s.size or 0 for s in info.siblings}
        names = files_of(sizes, hub_shards(client, parameters.uri, info.sha, sizes, parameters.uri))
        wanted = [glob.escape(name) for name in names]
        with reporting_bytes(destination, sum(sizes[name] for name in names), work.report):
            client.snapshot_download(
                name, revision=info.sha, local_dir=destination, allow_patterns=wanted, max_workers=WORKERS
            )
        check_hashes(destination, info.siblings)
