"""Publish a bundle to a folder of the volume, a hub or an object store. Other people's files are never overwritten.

A destination belongs to a FusionRun if it has a ``provenance.json`` of one. It may then be replaced.
"""

import json
import logging
import shutil
import tempfile
from pathlib import Path
from typing import Any

from fusionrun.api.artifacts import MODEL, PROVENANCE_FILE
from fusionrun_stages.errors import UserError
from fusionrun_stages.remote.hub import hub_client, hub_errors
from fusionrun_stages.remote.object_store import s3, store_errors
from fusionrun_stages.volume.atomic import commit
from fusionrun_stages.volume.copying import copy_folder
from fusionrun_stages.volume.paths import inside_volume

log = logging.getLogger(__name__)

DATASET = "dataset"
"""Folder of the data set in a bundle."""
DATASET_SUFFIX = "-data"
"""The data set is published as ``org/name-data``: a hub separates models and data sets."""
PUBLISH_SECRET = "publish.s3SecretRef"  # noqa: S105 -- the name of a field
CHECK_PREFIX = ".fusionrun-check-"
"""Start of the names of the files that ``remote.publishing_check`` writes and deletes."""
OLD_FILES = "*"
"""Files of an earlier publication that the new one does not have, such as further shards of a model, are deleted."""
EMPTY_REPOSITORY = {".gitattributes"}
"""Files of a new repository. Source: huggingface.co/docs/hub/repositories-getting-started."""


def to_folder(bundle: Path, destination: Path, digest: str) -> None:
    """Copy the bundle to a folder of the volume, atomically.

    ``digest`` is that of the publish stage. The partial copy has it in its name, since two runs may publish to the same
    folder at the same time.

    Raise UserError if the folder was not published by a FusionRun.
    """
    inside_volume(destination)
    old, part = (destination.with_name(f".{destination.name}.{digest}.{suffix}") for suffix in ("old", "part"))
    replaces = check_folder(destination)
    if replaces:
        published = destination / PROVENANCE_FILE
        shutil.rmtree(old, ignore_errors=True)  # of a pod that was killed
        if published.read_bytes() == (bundle / PROVENANCE_FILE).read_bytes():
            return
    destination.parent.mkdir(parents=True, exist_ok=True)
    shutil.rmtree(part, ignore_errors=True)
    copy_folder(bundle, part)
    if replaces:
        destination.rename(old)
    commit(part, destination)
    shutil.rmtree(old, ignore_errors=True)  # also if a pod was killed after the rename


def check_folder(destination: Path) -> bool:
    """Return whether a folder exists; raise UserError if it was not published by a FusionRun."""
    if not destination.exists():
        return False
    published = destination / PROVENANCE_FILE
    if not (published.is_file() and _is_provenance(inside_volume(published).read_bytes())):
        raise _not_ours(str(destination))
    return True


def to_hub(bundle: Path, name: str, endpoint: str | None, *, private: bool | None) -> None:
    """Upload the model to ``org/name`` and the data set to ``org/name-data``.

    ``private`` is the visibility of new repositories; None for the hub's default. An existing one keeps its visibility.
    Both are checked before the first upload.
    """
    client = hub_client(endpoint)
    found = repositories(name)
    exist = [check_repository(client, kind, repository) for _, kind, repository in found]
    for (folder, kind, repository), exists in zip(found, exist, strict=True):
        shutil.copyfile(bundle / PROVENANCE_FILE, bundle / folder / PROVENANCE_FILE)
        with hub_errors("publish.uri", repository):
            if not exists:
                client.create_repo(repository, repo_type=kind, exist_ok=True, private=private)
            client.upload_folder(
                repo_id=repository, repo_type=kind, folder_path=bundle / folder, delete_patterns=OLD_FILES
            )


def repositories(name: str) -> list[tuple[str, str, str]]:
    """Return the folder of the bundle, the kind and the name of each repository."""
    return [(MODEL, "model", name), (DATASET, "dataset", f"{name}{DATASET_SUFFIX}")]


def check_repository(client: Any, kind: str, repository: str) -> bool:
    """Return whether a repository exists; raise UserError if it has files that no FusionRun published."""
    from huggingface_hub.errors import RepositoryNotFoundError

    with hub_errors("publish.uri", repository):
        try:
            info = client.repo_info(repository, repo_type=kind)
        except RepositoryNotFoundError:
            return False
        names = {sibling.rfilename for sibling in info.siblings or []}
        if names <= EMPTY_REPOSITORY:
            return True
        if PROVENANCE_FILE in names:
            with tempfile.TemporaryDirectory() as folder:
                path = client.hf_hub_download(repository, PROVENANCE_FILE, repo_type=kind, local_dir=folder)
                if _is_provenance(Path(path).read_bytes()):
                    return True
    raise _not_ours(repository)


def to_s3(bundle: Path, uri: str) -> None:
    """Upload the bundle below a key.

    ``provenance.json`` is uploaded first, marked as incomplete, so that a retry recognizes the files, and again last.
    Objects of an earlier publication that the bundle does not have are deleted.

    Raise UserError if there are objects below the key that no FusionRun published.
    """
    key = uri.removeprefix("s3://").rstrip("/")
    provenance = bundle / PROVENANCE_FILE
    files = sorted(path for path in bundle.rglob("*") if path.is_file() and path != provenance)
    with store_errors(f"publish.uri: {uri!r}", PUBLISH_SECRET):
        store = s3()
        old = check_key(store, uri, key)
        marker = json.loads(provenance.read_bytes()) | {"incomplete": True}
        store.pipe_file(f"{key}/{PROVENANCE_FILE}", json.dumps(marker).encode())
        # File by file: for a folder, s3fs also looks up and creates the bucket, which needs more permissions.
        for path in (*files, provenance):
            store.put_file(str(path), f"{key}/{path.relative_to(bundle)}")
        for name in old - {f"{key}/{path.relative_to(bundle)}" for path in (*files, provenance)}:
            store.rm_file(name)


def check_key(store: Any, uri: str, key: str) -> set[str]:
    """Return the objects of an earlier publication below a key; those that a killed check has left are not among them.

    Raises
    ------
    UserError
        If there are objects that no FusionRun published.
    """
    try:
        objects = {name for name in store.find(key) if not name.rpartition("/")[2].startswith(CHECK_PREFIX)}
    except FileNotFoundError:
        objects = set()
    mine = f"{key}/{PROVENANCE_FILE}"
    if objects and not (mine in objects and _is_provenance(store.cat_file(mine))):
        raise _not_ours(uri)
    return objects


def _is_provenance(content: bytes) -> bool:
    """Return whether a file is the ``provenance.json`` of a FusionRun."""
    try:
        value = json.loads(content)
    except (ValueError, RecursionError):
        return False
    return isinstance(value, dict) and {"run", "namespace", "digest", "spec"} <= value.keys()


def _not_ours(where: str) -> UserError:
    rule = "exists and was not published by a FusionRun: it is not overwritten: choose another destination or empty it"
    return UserError(f"publish.uri: {where!r}: {rule}")
