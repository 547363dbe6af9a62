"""Pin one reference: its commit or a hash of its content, after a check that it is complete and readable."""

import glob
import hashlib
import tempfile
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fusionrun.api.artifacts import claim_path
from fusionrun.api.stage import Reference, ReferenceKind
from fusionrun.api.tasks.harness import HARNESS_SCHEME, task_of
from fusionrun_stages.cards.declared import read_licence
from fusionrun_stages.cards.licences import declared_licence
from fusionrun_stages.errors import UserError
from fusionrun_stages.harness.download import pin_task
from fusionrun_stages.models.files import (
    NO_TEMPLATE,
    TEMPLATE_FILES,
    check_model,
    fingerprint_model,
    has_chat_template,
    weight_files,
)
from fusionrun_stages.models.recipe_template import TOKEN_FILES, check_tokens_of
from fusionrun_stages.models.weights import check_listed, weights_of
from fusionrun_stages.prompts.dataset_files import DataFile, all_files, open_files
from fusionrun_stages.remote.hub import (
    CARD,
    check_access,
    check_hashes,
    download_dataset,
    hub_client,
    hub_errors,
    hub_fingerprint,
    hub_id,
    hub_shards,
)
from fusionrun_stages.remote.object_store import download_s3, fingerprint_s3, read_s3, s3_files, s3_shards
from fusionrun_stages.volume.atomic import read_json
from fusionrun_stages.volume.paths import dataset_folder, on_volume

CONFIG = "config.json"


@dataclass(frozen=True)
class Pinned:
    """A pinned reference."""

    fingerprint: str
    """A commit of the hub, or a hash of the content."""
    commit: str | None = None
    """The commit of a repository of a hub."""
    weights_bytes: int = 0
    """Size of a model's weights; 0 if it is not known."""
    on_claim: bool = False
    """Whether the run reads it from its place on the claim, without a download."""
    config: dict[str, Any] = field(default_factory=dict)
    """A model's ``config.json``; empty if it is not known."""
    licence: str | None = None
    """The licence that a repository's card declares."""


def pin(reference: Reference, endpoint: str | None) -> Pinned:
    """Check one reference and return its fingerprint.

    Raises
    ------
    UserError
        If the model or data set does not exist, is incomplete, lacks a column, or cannot be read with the run's token.
    InfrastructureError
        If the hub or the object store cannot be reached.
    """
    if reference.uri.startswith(HARNESS_SCHEME):
        return _pin_harness_task(reference, endpoint)
    if reference.uri.startswith("pvc://"):
        return _pin_path(reference)
    if reference.uri.startswith("s3://"):
        return _pin_s3(reference)
    return _pin_hub(reference, endpoint)


def _pin_harness_task(reference: Reference, endpoint: str | None) -> Pinned:
    return Pinned(pin_task(task_of(reference.uri), reference.field, endpoint).pin)


def _pin_path(reference: Reference) -> Pinned:
    path = on_volume(claim_path(reference.uri))
    if not path.exists():
        expected = "directory" if reference.kind is ReferenceKind.MODEL else "file or directory"
        raise UserError(f"{reference.field}: {reference.uri!r}: no such {expected} on the claim")
    if reference.kind is ReferenceKind.MODEL:
        if not path.is_dir():
            raise UserError(f"{reference.field}: {reference.uri!r}: is a file; a model must be a directory")
        check_model(path, reference.field, chat=_chats(reference))
        if reference.chat_template:
            check_tokens_of(path, reference.chat_template, f"{reference.field}: {reference.uri!r}")
        weights = sum(file.stat().st_size for file in weight_files(path, reference.field))
        return Pinned(
            fingerprint_model(path),
            weights_bytes=weights,
            on_claim=True,
            config=read_json(path / CONFIG),
            licence=read_licence(path),
        )
    card_folder = path if path.is_dir() else path.parent  # as publish does
    return Pinned(fingerprint_files(_data_files(path, reference)), on_claim=True, licence=read_licence(card_folder))


def _data_files(path: Path, reference: Reference) -> list[DataFile]:
    """Return the files of a data set: those of its split, which have its columns, or all if all belong to it."""
    if not reference.all_files:
        return open_files(path, reference.split, reference.columns, reference.field)
    files = all_files(path)
    if not files:
        raise UserError(f"{reference.field}: {reference.uri!r}: the folder has no files")
    return files


def _pin_s3(reference: Reference) -> Pinned:
    files = s3_files(reference.uri)
    fingerprint = fingerprint_s3(files)
    if reference.kind is ReferenceKind.DATASET:
        folder = dataset_folder(fingerprint)
        download_s3(reference.uri, folder, fingerprint)
        _data_files(folder, reference)
        return Pinned(fingerprint, licence=read_licence(folder))
    shards = s3_shards(reference.uri, files)
    weights = _weights(reference, repr(reference.uri), files, shards)

    def download(names: Collection[str], folder: Path) -> None:
        read_s3(reference.uri, {name: files[name] for name in names}, folder)

    with _small_files(reference, repr(reference.uri), files, download, {CARD}) as folder:
        config, licence = _configuration(folder), read_licence(folder)
    size = sum(files[name]["size"] for name in weights)
    return Pinned(fingerprint, weights_bytes=size, config=config, licence=licence)


def _pin_hub(reference: Reference, endpoint: str | None) -> Pinned:
    client, name = hub_client(endpoint), hub_id(reference.uri)
    repository = f"{reference.uri}@{reference.revision or 'main'}"
    if reference.kind is ReferenceKind.DATASET:
        with hub_errors(reference.field, repository):
            info = client.dataset_info(name, revision=reference.revision, files_metadata=True)
            check_access(client, name, "dataset", info)
        names = [s.rfilename for s in info.siblings]
        fingerprint = hub_fingerprint(endpoint, info.sha)
        folder = dataset_folder(fingerprint)
        split = None if reference.all_files else reference.split
        download_dataset(reference.uri, info.sha, folder, split, client, names, reference.field)
        check_hashes(folder, info.siblings)
        _data_files(folder, reference)
        return Pinned(fingerprint, info.sha, licence=_licence(info))
    with hub_errors(reference.field, repository):
        info = client.model_info(name, revision=reference.revision, files_metadata=True)
        check_access(client, name, "model", info)
    sizes = {s.rfilename: s.size or 0 for s in info.siblings}
    weights = _weights(
        reference, repr(repository), sizes, hub_shards(client, reference.uri, info.sha, sizes, reference.field)
    )

    def download(names: Collection[str], folder: Path) -> None:
        patterns = [glob.escape(name) for name in names]
        with hub_errors(reference.field, repository):
            client.snapshot_download(name, revision=info.sha, local_dir=folder, allow_patterns=patterns)

    with _small_files(reference, repr(repository), sizes, download) as folder:
        config = _configuration(folder)
    return Pinned(
        hub_fingerprint(endpoint, info.sha),
        info.sha,
        weights_bytes=sum(sizes[name] for name in weights),
        config=config,
        licence=_licence(info),
    )


def _weights(reference: Reference, where: str, names: Collection[str], shards: frozenset[str] | None) -> list[str]:
    """Return the weights files of a model; raise UserError if it has none, or lacks some of its index."""
    check_listed(names, shards, f"{reference.field}: {where}")
    if weights := weights_of(names, shards):
        return weights
    raise UserError(f"{reference.field}: {where}: has no *.safetensors (other weight formats are not supported)")


def _chats(reference: Reference) -> bool:
    """Return whether a model must have a chat template: the target, or a model of ``evaluateOnly``."""
    return reference.field.startswith(("target", "evaluateOnly"))


@contextmanager
def _small_files(
    reference: Reference,
    where: str,
    names: Collection[str],
    download: Callable[[Collection[str], Path], None],
    more: Collection[str] = (),
) -> Iterator[Path]:
    """Yield a temporary folder with a model's configuration and, for one that is evaluated, its checked chat template.

    It downloads a few KiB, and the tokenizer (up to 17 MB) if the recipe's template replaces that of the target.
    """
    chats = _chats(reference)
    if chats and set(names).isdisjoint(TEMPLATE_FILES):
        raise UserError(f"{reference.field}: {where}: {NO_TEMPLATE}")
    wanted = {CONFIG, *more, *(TEMPLATE_FILES if chats else ()), *(TOKEN_FILES if reference.chat_template else ())}
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        download(sorted(wanted.intersection(names)), folder)
        if chats and not has_chat_template(folder, reference.field):
            raise UserError(f"{reference.field}: {where}: {NO_TEMPLATE}")
        if reference.chat_template:
            check_tokens_of(folder, reference.chat_template, f"{reference.field}: {where}")
        yield folder


def _configuration(folder: Path) -> dict[str, Any]:
    path = folder / CONFIG
    try:
        config = read_json(path) if path.is_file() else {}
    except ValueError:
        return {}
    return config if isinstance(config, dict) else {}


def _licence(info: Any) -> str | None:
    card = getattr(info, "card_data", None)
    return declared_licence(card.to_dict()) if card is not None else None


def fingerprint_files(files: list[DataFile]) -> str:
    """Hash the content of a data set's files, and their names if there is more than one."""
    digest = hashlib.sha256()
    for file in files:
        if len(files) > 1:
            digest.update(f"{file.name}\0".encode())
        with file.open() as stream:
            while chunk := stream.read(2**20):
                digest.update(chunk)
    return digest.hexdigest()
