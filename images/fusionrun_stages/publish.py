"""Publish the final model and its training data, with cards and provenance, to a path, a hub or S3.

Usage: ``FUSIONRUN_TASK=task.json python -m fusionrun_stages publish``

Idempotent: a published artifact is not published again. Files that were not published by a FusionRun are never
overwritten.
"""

import json
import logging
import os
import shutil
from pathlib import Path
from typing import Any

from fusionrun.api.artifacts import DATASET_FILES, MODEL, PROVENANCE_FILE, SUMMARY_FILE, claim_path
from fusionrun.api.parameters import PublishParameters
from fusionrun.api.records import replace_surrogates
from fusionrun.api.spec import FusionRunSpec
from fusionrun.api.stage import StageKind
from fusionrun.api.values import Constructed, Promoted, Published
from fusionrun_stages.cards.dataset import build_dataset_card
from fusionrun_stages.cards.facts import Facts
from fusionrun_stages.cards.licences import declared_licence
from fusionrun_stages.cards.model import build_model_card
from fusionrun_stages.errors import UserError
from fusionrun_stages.remote.hub import hub_client, hub_errors, hub_id
from fusionrun_stages.remote.object_store import s3, store_errors
from fusionrun_stages.volume.atomic import commit, read_json, write_atomic
from fusionrun_stages.volume.manifest import read_input
from fusionrun_stages.volume.paths import inside_volume, on_volume
from fusionrun_stages.work import Made, Work

log = logging.getLogger(__name__)

DATASET_SUFFIX = "-data"
"""The data set is published as ``org/name-data``: a hub separates models and data sets."""


def run(work: Work) -> Made:
    """Build a bundle of model, data set, cards and provenance, then publish it."""
    parameters = work.parameters(PublishParameters)
    spec = FusionRunSpec.model_validate_json(parameters.run_spec)
    bundle = work.output / "bundle"
    shutil.rmtree(bundle, ignore_errors=True)
    build_bundle(bundle, parameters, spec, work)
    destination = parameters.destination
    files = [PROVENANCE_FILE]
    if destination.startswith("hf://"):
        to_hub(bundle, hub_id(destination), parameters.hub_endpoint)
    elif destination.startswith("s3://"):
        to_s3(bundle, destination)
    else:
        folder = on_volume(claim_path(destination)) if destination.startswith("pvc://") else Path(destination)
        to_folder(bundle, folder)
        # If the published folder is deleted, the stage runs again.
        files.append(os.path.relpath(folder / PROVENANCE_FILE, work.output))
    provenance = work.output / PROVENANCE_FILE
    if (bundle / PROVENANCE_FILE).is_file():
        (bundle / PROVENANCE_FILE).replace(provenance)
    shutil.rmtree(bundle, ignore_errors=True)
    log.info("published to %s", destination)
    return Made(files=files, values=Published(), details={"destination": destination})


def build_bundle(bundle: Path, parameters: PublishParameters, spec: FusionRunSpec, work: Work) -> None:
    """Write ``model/``, ``dataset/`` and ``provenance.json`` to a folder."""
    dataset = Path(parameters.dataset_dir)
    constructed, made = read_input(dataset, StageKind.CONSTRUCT, Constructed)
    promoted, _ = read_input(Path(parameters.model_path).parent, StageKind.PROMOTE, Promoted)
    facts = gather_facts(work.task.run, parameters, spec, made, constructed.details)
    shutil.copytree(inside_volume(parameters.model_path), bundle / MODEL)
    complete_generation_config(bundle / MODEL, spec)
    (bundle / MODEL / "README.md").write_text(build_model_card(facts, parameters.scores))
    (bundle / "dataset").mkdir()
    for name in DATASET_FILES:
        if (dataset / name).is_file():
            shutil.copyfile(inside_volume(dataset / name), bundle / "dataset" / name)
    markdown, page = build_dataset_card(facts)
    (bundle / "dataset" / "README.md").write_text(markdown)
    (bundle / "dataset" / "card.html").write_text(page)
    provenance = {
        "run": work.task.run,
        "namespace": work.task.namespace,
        "digest": work.task.digest,
        "spec": json.loads(parameters.run_spec),
        "scores": parameters.scores,
        "dataset": constructed.model_dump(mode="json"),
        "model": promoted.model_dump(mode="json"),
    }
    write_atomic(bundle / PROVENANCE_FILE, json.dumps(provenance, indent=1, sort_keys=True).encode())


def gather_facts(
    name: str, parameters: PublishParameters, spec: FusionRunSpec, made: Constructed, details: dict[str, Any]
) -> Facts:
    """Read the data of the cards; ``made`` and ``details`` are in the manifest of the data set."""
    summary = Path(parameters.dataset_dir) / SUMMARY_FILE
    folders = {f"sources[{source}]": Path(path) for source, path in parameters.source_models.items()}
    for dataset in spec.datasets:
        if dataset.uri is not None and dataset.uri.startswith("pvc://"):
            path = on_volume(claim_path(dataset.uri))
            folders[f"datasets[{dataset.name}]"] = path if path.is_dir() else path.parent
    licences = {field: licence for field, folder in folders.items() if (licence := read_licence(folder))}
    return Facts(
        name=name,
        spec=spec,
        made=made,
        details=details,
        summary=read_json(summary) if summary.is_file() else {},
        pins=parameters.pins,
        licences=licences,
    )


def read_licence(folder: Path) -> str | None:
    """Return the licence that the card in a model's or data set's folder declares, or None."""
    import yaml
    from huggingface_hub.repocard import metadata_load

    card = folder / "README.md"
    try:
        licence = declared_licence(metadata_load(inside_volume(card))) if card.is_file() else None
    except (ValueError, yaml.YAMLError):
        return None
    return replace_surrogates(licence) if licence else None  # a YAML escape may be a lone surrogate


def complete_generation_config(model: Path, spec: FusionRunSpec) -> None:
    """Write a ``generation_config.json`` with every end-of-text token of the model and of its base.

    The end-of-turn token of a chat model may differ from its end-of-text token (Gemma: 107 and 1; Llama: 128008, 128009
    and 128001). If one is missing, a server generates past the end.
    """
    path = model / "generation_config.json"
    folders = [model]
    if spec.target.model.uri.startswith("pvc://"):
        folders.append(on_volume(claim_path(spec.target.model.uri)))
    ids: list[int] = []
    for source in [f / n for f in folders for n in ("generation_config.json", "config.json")]:
        eos = read_json(source).get("eos_token_id") if source.is_file() else None
        ids += eos if isinstance(eos, list) else [eos] if isinstance(eos, int) else []
    config = read_json(path) if path.is_file() else {}
    unique = list(dict.fromkeys(ids))
    if unique:
        config["eos_token_id"] = unique if len(unique) > 1 else unique[0]
    write_atomic(path, (json.dumps(config, indent=2) + "\n").encode())


def to_folder(bundle: Path, destination: Path) -> None:
    """Copy the bundle to a folder of the volume, atomically.

    Raise UserError if the folder was not published by a FusionRun.
    """
    inside_volume(destination)
    old = None
    if destination.exists():
        published = destination / PROVENANCE_FILE
        if not published.is_file():
            raise UserError(
                f"publish.uri: {str(destination)!r}: exists and was not published by a FusionRun: it is not overwritten"
            )
        if published.read_bytes() == (bundle / PROVENANCE_FILE).read_bytes():
            return
        old = destination.with_name(f".{destination.name}.old")
        shutil.rmtree(old, ignore_errors=True)
    destination.parent.mkdir(parents=True, exist_ok=True)
    part = destination.with_name(f".{destination.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    shutil.copytree(bundle, part)
    if old is not None:
        destination.rename(old)
    commit(part, destination)
    if old is not None:
        shutil.rmtree(old, ignore_errors=True)


def to_hub(bundle: Path, name: str, endpoint: str | None) -> None:
    """Upload the model to ``org/name`` and the data set to ``org/name-data``."""
    client = hub_client(endpoint)
    for folder, kind, repository in ((MODEL, "model", name), ("dataset", "dataset", f"{name}{DATASET_SUFFIX}")):
        shutil.copyfile(bundle / PROVENANCE_FILE, bundle / folder / PROVENANCE_FILE)
        with hub_errors("publish.uri", repository):
            client.create_repo(repository, repo_type=kind, exist_ok=True)
            client.upload_folder(repo_id=repository, repo_type=kind, folder_path=bundle / folder)


def to_s3(bundle: Path, uri: str) -> None:
    """Upload the bundle below a key, provenance.json last."""
    key = uri.removeprefix("s3://").rstrip("/")
    files = sorted(path for path in bundle.rglob("*") if path.is_file() and path != bundle / PROVENANCE_FILE)
    with store_errors(f"publish.uri: {uri!r}", "publish.s3SecretRef"):
        store = s3()
        # File by file: for a folder, s3fs also looks up and creates the bucket, which needs more permissions.
        for path in (*files, bundle / PROVENANCE_FILE):
            store.put_file(str(path), f"{key}/{path.relative_to(bundle)}")
