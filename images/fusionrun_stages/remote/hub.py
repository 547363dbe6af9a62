"""Models and data sets on a Hugging Face hub (``hf://org/name``).

HF_TOKEN has the credentials; HF_ENDPOINT has the address, unless the run has one.
"""

import hashlib
import json
import os
import tempfile
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from fusionrun.api.artifacts import pin_file
from fusionrun_stages.errors import InfrastructureError, UserError
from fusionrun_stages.models.weights import INDEX, listed
from fusionrun_stages.prompts.dataset_files import is_visible, select_split
from fusionrun_stages.volume.atomic import read_json, write_atomic
from fusionrun_stages.volume.paths import on_volume

HTTP_FORBIDDEN = (401, 403)
HTTP_NOT_FOUND = 404

CARD = "README.md"
"""The card of a repository, which declares its licence."""
DEFAULT_ENDPOINT = "https://huggingface.co"
WORKERS = 4
"""Parallel downloads: a hub throttles clients with more."""


def hub_id(uri: str) -> str:
    """Return ``org/name`` of ``hf://org/name``."""
    return uri.removeprefix("hf://")


def hub_client(endpoint: str | None) -> Any:
    """Return a client of the hub at ``endpoint``, or of the default hub."""
    from huggingface_hub import HfApi

    return HfApi(endpoint=endpoint or os.environ.get("HF_ENDPOINT"), token=os.environ.get("HF_TOKEN") or None)


def hub_fingerprint(endpoint: str | None, commit: str) -> str:
    """Return the fingerprint of a repository: its commit or, for a hub that the run names, a hash of both.

    A commit does not prove the content, since no client computes it from the files. Otherwise a run could store the
    files of its own hub as those of a model of another hub, in the folder that all runs on the claim share.
    """
    endpoint = (endpoint or "").rstrip("/")
    if endpoint in ("", DEFAULT_ENDPOINT):
        return commit
    return hashlib.sha256(f"{endpoint}\0{commit}".encode()).hexdigest()


@contextmanager
def hub_errors(field: str, repository: str) -> Iterator[None]:
    """Convert errors of ``huggingface_hub`` to stage errors: UserError if a retry cannot succeed.

    ``field`` is the field of the spec that names the repository; ``repository`` may include its revision.
    """
    from huggingface_hub.errors import (
        GatedRepoError,
        HfHubHTTPError,
        HFValidationError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    where = f"{field}: {repository!r}"
    try:
        yield
    except GatedRepoError as error:
        raise UserError(f"{where}: gated: accept its licence and set a token (hub.tokenSecretRef)") from error
    except RevisionNotFoundError as error:
        raise UserError(f"{where}: no such revision on the hub") from error
    except RepositoryNotFoundError as error:
        raise UserError(f"{where}: not on the hub, or private and not readable with this token") from error
    except HFValidationError as error:
        raise UserError(f"{where}: {error}") from error
    except HfHubHTTPError as error:
        if getattr(error.response, "status_code", None) in HTTP_FORBIDDEN:
            token = "publish.tokenSecretRef" if field.startswith("publish") else "hub.tokenSecretRef"
            raise UserError(f"{where}: the token of {token} lacks the permission: {error}") from error
        raise InfrastructureError(f"{where}: the hub returned an error: {error}") from error
    except Exception as error:
        # huggingface_hub uses httpx, whose errors are not OSErrors.
        if isinstance(error, OSError) or type(error).__module__.startswith("httpx"):
            raise InfrastructureError(f"{where}: cannot reach the hub: {error}") from error
        raise


def check_access(client: Any, name: str, kind: str, info: Any) -> None:
    """Check that the token may download the files of a gated repository; call it in ``hub_errors``.

    A hub shows the files of a gated repository to everybody, and refuses their download only
    (huggingface.co/docs/hub/models-gated). ``info`` is the reply of ``model_info`` or ``dataset_info``. A mirror
    without this check is left alone: the download then shows the error.
    """
    if getattr(info, "gated", None):
        confirms_access(client, name, kind)


def confirms_access(client: Any, name: str, kind: str, *, write: bool = False) -> bool:
    """Return whether the hub says that the token may read or write a repository; False if it has no such check.

    Call it in ``hub_errors``: if the token may not, the hub's error is raised.
    """
    from huggingface_hub.errors import GatedRepoError, HfHubHTTPError, RepositoryNotFoundError

    try:
        client.auth_check(name, repo_type=kind, write=write)
    except (GatedRepoError, RepositoryNotFoundError):
        raise
    except HfHubHTTPError as error:
        if getattr(error.response, "status_code", None) != HTTP_NOT_FOUND:
            raise
        return False
    return True


def download_dataset(
    uri: str, commit: str, folder: Path, split: str | None, client: Any, names: list[str], field: str
) -> None:
    """Download the card and the files of a hub data set's split to a folder, except those that are there already.

    Without a split, all visible files are downloaded.
    """
    chosen = [name for name in names if is_visible(name)] if split is None else select_split(names, split)
    if not chosen:
        raise UserError(f"{field}: {uri!r}: no data file of split {split!r}")
    with hub_errors(field, uri):
        client.snapshot_download(
            hub_id(uri),
            repo_type="dataset",
            revision=commit,
            local_dir=folder,
            allow_patterns=[*chosen, CARD],
            max_workers=WORKERS,
        )


def hub_shards(client: Any, uri: str, commit: str, names: Iterable[str], field: str) -> frozenset[str] | None:
    """Return the weights files that the index of a repository names; None without an index."""
    if INDEX not in names:
        return None
    with tempfile.TemporaryDirectory() as folder, hub_errors(field, uri):
        client.snapshot_download(hub_id(uri), revision=commit, local_dir=folder, allow_patterns=[INDEX])
        return listed(Path(folder, INDEX).read_bytes(), f"{field}: {uri!r}")


def check_hashes(folder: Path, siblings: Iterable[Any]) -> None:
    """Compare the downloaded large files with the SHA-256 that the hub states for them.

    ``huggingface_hub`` compares sizes only. ``siblings`` are the files of a repository with their metadata. A file with
    another hash is deleted, and an InfrastructureError is raised: a retry downloads it again.
    """
    hashes = {s.rfilename: s.lfs.sha256 for s in siblings if getattr(s, "lfs", None)}
    present = [name for name in hashes if (folder / name).is_file()]
    with ThreadPoolExecutor(WORKERS) as pool:
        found = dict(zip(present, pool.map(lambda name: _sha256(folder / name), present), strict=True))
    broken = [name for name in present if found[name] != hashes[name]]
    for name in broken:
        (folder / name).unlink()
    if broken:
        raise InfrastructureError(f"{folder / broken[0]}: its SHA-256 is not the one that the hub states: deleted")


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def save_commit(uri: str, fingerprint: str, commit: str) -> None:
    """Save the commit of a repository under its pin, the first digits of its fingerprint.

    Source: huggingface.co/docs/huggingface_hub/guides/download: a commit hash must be full-length.
    """
    write_atomic(on_volume(pin_file(fingerprint)), json.dumps({"uri": uri, "revision": commit}).encode())


def load_commit(pin: str) -> str | None:
    """Return the commit of a pin, or None if ``resolve`` saved none."""
    path = on_volume(pin_file(pin))
    return str(read_json(path)["revision"]) if path.is_file() else None
