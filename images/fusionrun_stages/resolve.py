"""Pin and check every model and data set of a run, and list the artifacts that are complete already.

Usage: ``FUSIONRUN_TASK=task.json python -m fusionrun_stages resolve``

No GPU is requested before this stage has succeeded. Its errors name the spec's field, the value and the rule. It runs
every time, also if its manifest exists.
"""

import hashlib
import logging
import shutil
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fusionrun.api.artifacts import PIN_LENGTH, artifact_dir, claim_path, digests, model_dir
from fusionrun.api.parameters import ResolveParameters
from fusionrun.api.records import replace_surrogates
from fusionrun.api.stage import Reference, ReferenceKind
from fusionrun.api.values import Resolved
from fusionrun_stages.errors import UserError
from fusionrun_stages.models.files import NO_TEMPLATE, TEMPLATE_FILES, check_model, fingerprint_model, has_chat_template
from fusionrun_stages.models.weights import weights_of
from fusionrun_stages.prompts.dataset_files import DataFile, open_files
from fusionrun_stages.remote.hub import (
    check_hashes,
    download_dataset,
    hub_client,
    hub_errors,
    hub_fingerprint,
    hub_id,
    hub_shards,
    save_commit,
)
from fusionrun_stages.remote.object_store import download_s3, fingerprint_s3
from fusionrun_stages.volume.manifest import is_complete
from fusionrun_stages.volume.paths import dataset_folder, on_volume, volume_root
from fusionrun_stages.work import Made, Work

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Pinned:
    """A pinned reference."""

    fingerprint: str
    """A commit of the hub, or a hash of the content."""
    commit: str | None = None
    """The commit of a repository of a hub."""
    download_bytes: int = 0
    details: dict[str, Any] = field(default_factory=dict)


def run(work: Work) -> Made:
    """Pin and check the references; list the complete artifacts."""
    parameters = work.parameters(ResolveParameters)
    pinned: list[Pinned] = []
    for number, reference in enumerate(parameters.references):
        work.report(number, len(parameters.references), "references")
        pinned.append(pin(reference, parameters.hub_endpoint))
        log.info("%s: %s is %s", reference.field, reference.uri, pinned[-1].fingerprint)
    check_space({p.fingerprint: p.download_bytes for p in pinned})
    pins = [p.fingerprint[:PIN_LENGTH] for p in pinned]
    for reference, p in zip(parameters.references, pinned, strict=True):
        if p.commit is not None:
            save_commit(reference.uri, p.fingerprint, p.commit)
    stage_digests = digests(parameters.stages, pins)
    complete = [
        index
        for index, stage in enumerate(parameters.stages)
        if is_complete(on_volume(artifact_dir(stage.kind, stage_digests[stage.name])), stage.kind, stage.shards)
    ]
    work.report(len(pins), len(pins), "references")
    return Made(
        values=Resolved(pins=pins, complete=complete),
        details={
            "references": [
                {"field": r.field, "uri": r.uri, "revision": r.revision, "fingerprint": p.fingerprint, **p.details}
                for r, p in zip(parameters.references, pinned, strict=True)
            ],
            "digests": stage_digests,
        },
    )


def pin(reference: Reference, endpoint: str | None) -> Pinned:
    """Check one reference and return its fingerprint.

    Raise UserError if the model or data set does not exist, is incomplete, or lacks a column.
    """
    if reference.uri.startswith("pvc://"):
        return _pin_path(reference)
    if reference.uri.startswith("s3://"):
        return _pin_s3(reference)
    return _pin_hub(reference, endpoint)


def _pin_path(reference: Reference) -> Pinned:
    path = on_volume(claim_path(reference.uri))
    if not path.exists():
        expected = "directory" if reference.kind is ReferenceKind.MODEL else "file or directory"
        raise UserError(f"{reference.field}: {reference.uri!r}: no such {expected} on the claim")
    if reference.kind is ReferenceKind.MODEL:
        if not path.is_dir():
            raise UserError(f"{reference.field}: {reference.uri!r}: is a file; a model must be a directory")
        check_model(path, reference.field, chat=reference.field.startswith("target"))
        return Pinned(fingerprint_model(path))
    return Pinned(fingerprint_files(open_files(path, reference.split, reference.columns, reference.field)))


def _pin_s3(reference: Reference) -> Pinned:
    fingerprint = fingerprint_s3(reference.uri)
    if reference.kind is ReferenceKind.DATASET:
        folder = dataset_folder(fingerprint)
        download_s3(reference.uri, folder, fingerprint)
        open_files(folder, reference.split, reference.columns, reference.field)
    return Pinned(fingerprint)


def _pin_hub(reference: Reference, endpoint: str | None) -> Pinned:
    client, name = hub_client(endpoint), hub_id(reference.uri)
    repository = f"{reference.uri}@{reference.revision or 'main'}"
    if reference.kind is ReferenceKind.DATASET:
        with hub_errors(reference.field, repository):
            info = client.dataset_info(name, revision=reference.revision, files_metadata=True)
        names = [s.rfilename for s in info.siblings]
        fingerprint = hub_fingerprint(endpoint, info.sha)
        folder = dataset_folder(fingerprint)
        download_dataset(reference.uri, info.sha, folder, reference.split, client, names, reference.field)
        check_hashes(folder, info.siblings)
        open_files(folder, reference.split, reference.columns, reference.field)
        return Pinned(fingerprint, info.sha, details={"licence": _licence(info)})
    with hub_errors(reference.field, repository):
        info = client.model_info(name, revision=reference.revision, files_metadata=True)
    names = [s.rfilename for s in info.siblings]
    chosen = weights_of(names, hub_shards(client, reference.uri, info.sha, names, reference.field))
    weights = [s for s in info.siblings if s.rfilename in chosen]
    if not weights:
        raise UserError(
            f"{reference.field}: {repository!r}: has no *.safetensors (other weight formats are not supported)"
        )
    if reference.field.startswith("target"):
        _check_hub_template(reference, repository, client, info)
    size = sum(s.size or 0 for s in weights)
    details = {"licence": _licence(info), "weights_bytes": size}
    return Pinned(hub_fingerprint(endpoint, info.sha), info.sha, size, details)


def _check_hub_template(reference: Reference, repository: str, client: Any, info: Any) -> None:
    """Check that the target has a chat template before responses are generated: it downloads a few KiB."""
    if {s.rfilename for s in info.siblings}.isdisjoint(TEMPLATE_FILES):
        raise UserError(f"{reference.field}: {repository!r}: {NO_TEMPLATE}")
    with tempfile.TemporaryDirectory() as folder:
        with hub_errors(reference.field, repository):
            client.snapshot_download(
                hub_id(reference.uri), revision=info.sha, local_dir=folder, allow_patterns=list(TEMPLATE_FILES)
            )
        if not has_chat_template(Path(folder), reference.field):
            raise UserError(f"{reference.field}: {repository!r}: {NO_TEMPLATE}")


def _licence(info: Any) -> str | None:
    card = getattr(info, "card_data", None)
    licence = card.get("license") if card is not None else None
    return replace_surrogates(str(licence)) if licence else None


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


def check_space(models: dict[str, int]) -> None:
    """Refuse a run whose downloads exceed the free space of the volume.

    ``models`` has the bytes of each model's weights by fingerprint: a model with two roles is downloaded once. Weights
    that are on the volume already are not counted.
    """
    download_bytes = sum(max(0, size - fetched_bytes(fingerprint)) for fingerprint, size in models.items())
    free = shutil.disk_usage(volume_root()).free if download_bytes else 0
    if download_bytes > free:
        raise UserError(
            f"storage.claimName: the models need {download_bytes / 1e9:.1f} GB more and the volume has "
            f"{free / 1e9:.1f} GB free"
        )


def fetched_bytes(fingerprint: str) -> int:
    """Return the bytes of a model's weights that are on the volume."""
    folder = on_volume(model_dir(fingerprint[:PIN_LENGTH]))
    return sum(path.stat().st_size for path in folder.rglob("*.safetensors") if path.is_file())
