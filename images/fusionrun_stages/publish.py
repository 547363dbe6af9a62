"""Hand out the final model and its training data, with generated cards and provenance, to a path, a hub or S3.

Idempotent: what this very artifact published already is left as it is; what somebody else put there is never
overwritten.
"""

import json
import logging
import os
import shutil
from pathlib import Path
from typing import Any

from fusionrun.api.artifacts import COMPLETE_MANIFEST, claim_path
from fusionrun.api.parameters import PublishParameters
from fusionrun.api.records import replace_surrogates
from fusionrun.api.spec import FusionRunSpec
from fusionrun_stages.cards.licences import told_by
from fusionrun_stages.cards.render import Cards
from fusionrun_stages.cards.sections import Facts
from fusionrun_stages.construct import FILES
from fusionrun_stages.construction.summary import FILE as SUMMARY
from fusionrun_stages.errors import UserError
from fusionrun_stages.remote.hub import ask_hub, hub_api, hub_id
from fusionrun_stages.remote.object_store import ask_store, s3
from fusionrun_stages.volume.atomic import commit, read_json, write_atomic
from fusionrun_stages.volume.paths import inside_volume, on_volume
from fusionrun_stages.work import Made, Work

log = logging.getLogger(__name__)

PROVENANCE = "provenance.json"
DATASET_SUFFIX = "-data"
"""A hub keeps models and data sets apart: the data set goes to ``org/name-data``."""


def run(work: Work) -> Made:
    """Put model, data set, cards and provenance together, then publish them."""
    parameters = work.task.parameters
    assert isinstance(parameters, PublishParameters)
    spec = FusionRunSpec.model_validate_json(parameters.run_spec)
    bundle = work.output / "bundle"
    shutil.rmtree(bundle, ignore_errors=True)
    build_bundle(bundle, parameters, spec, work)
    destination = parameters.destination
    files = [PROVENANCE]
    if destination.startswith("hf://"):
        to_hub(bundle, hub_id(destination), parameters.hub_endpoint)
    elif destination.startswith("s3://"):
        to_s3(bundle, destination)
    else:
        folder = on_volume(claim_path(destination)) if destination.startswith("pvc://") else Path(destination)
        to_folder(bundle, folder)
        # What somebody deleted is published again.
        files.append(os.path.relpath(folder / PROVENANCE, work.output))
    provenance = work.output / PROVENANCE
    if (bundle / PROVENANCE).is_file():
        (bundle / PROVENANCE).replace(provenance)
    shutil.rmtree(bundle, ignore_errors=True)
    log.info("published to %s", destination)
    return Made(files=files, counts={"published": 1}, details={"destination": destination})


def build_bundle(bundle: Path, parameters: PublishParameters, spec: FusionRunSpec, work: Work) -> None:
    """Lay out ``model/``, ``dataset/`` and ``provenance.json`` in a folder of our own."""
    dataset = Path(parameters.dataset_dir)
    cards = Cards(gather_facts(work.task.run, parameters, spec), parameters.scores)
    shutil.copytree(inside_volume(parameters.model_path), bundle / "model")
    complete_generation_config(bundle / "model", spec)
    (bundle / "model" / "README.md").write_text(cards.model())
    (bundle / "dataset").mkdir()
    for name in FILES.values():
        if (dataset / name).is_file():
            shutil.copyfile(inside_volume(dataset / name), bundle / "dataset" / name)
    markdown, page = cards.dataset()
    (bundle / "dataset" / "README.md").write_text(markdown)
    (bundle / "dataset" / "card.html").write_text(page)
    provenance = {
        "run": work.task.run,
        "namespace": work.task.namespace,
        "digest": work.task.digest,
        "spec": json.loads(parameters.run_spec),
        "scores": parameters.scores,
        "dataset": read_manifest(dataset),
        "model": read_manifest(Path(parameters.model_path).parent),
    }
    write_atomic(bundle / PROVENANCE, json.dumps(provenance, indent=1, sort_keys=True).encode())


def gather_facts(name: str, parameters: PublishParameters, spec: FusionRunSpec) -> Facts:
    """Read what the cards are made from."""
    dataset = Path(parameters.dataset_dir)
    manifest = read_manifest(dataset)
    summary = dataset / SUMMARY
    folders = {f"sources[{source}]": Path(path) for source, path in parameters.source_models.items()}
    for one in spec.datasets:
        if one.uri is not None and one.uri.startswith("pvc://"):
            path = on_volume(claim_path(one.uri))
            folders[f"datasets[{one.name}]"] = path if path.is_dir() else path.parent
    told = {field: licence for field, folder in folders.items() if (licence := told_licence(folder))}
    return Facts(
        name=name,
        spec=spec,
        counts=manifest.get("counts", {}),
        details=manifest.get("details", {}),
        summary=read_json(summary) if summary.is_file() else {},
        pins=parameters.pins,
        told=told,
    )


def told_licence(folder: Path) -> str | None:
    """Return the licence that a model's or data set's own card tells, or None where there is none to be read."""
    import yaml
    from huggingface_hub.repocard import metadata_load

    card = folder / "README.md"
    try:
        told = told_by(metadata_load(inside_volume(card))) if card.is_file() else None
    except (ValueError, yaml.YAMLError):
        return None
    return replace_surrogates(told) if told else None  # YAML, too, can escape one


def read_manifest(directory: Path) -> dict[str, Any]:
    """Return an artifact's manifest; empty where it has none."""
    path = directory / COMPLETE_MANIFEST
    return dict(read_json(path)) if path.is_file() else {}


def complete_generation_config(model: Path, spec: FusionRunSpec) -> None:
    """Write a generation_config that names every end-of-text token which the model or its base knows.

    Notes
    -----
    A chat model may end its turn with another token than its text (Gemma 1 and 107; Llama 128001, 128008, 128009):
    one that is missing makes a server run on past the end.
    """
    path = model / "generation_config.json"
    folders = [model]
    if spec.target.model.uri.startswith("pvc://"):
        folders.append(on_volume(claim_path(spec.target.model.uri)))
    ids: list[int] = []
    for source in [f / n for f in folders for n in ("generation_config.json", "config.json")]:
        found = read_json(source).get("eos_token_id") if source.is_file() else None
        ids += found if isinstance(found, list) else [found] if isinstance(found, int) else []
    config = read_json(path) if path.is_file() else {}
    unique = list(dict.fromkeys(ids))
    if unique:
        config["eos_token_id"] = unique if len(unique) > 1 else unique[0]
    write_atomic(path, (json.dumps(config, indent=2) + "\n").encode())


def to_folder(bundle: Path, destination: Path) -> None:
    """Move the bundle to a folder of the volume, whole or not at all.

    Raises
    ------
    UserError
        If the folder holds something that no FusionRun published.
    """
    inside_volume(destination)
    old = None
    if destination.exists():
        there = destination / PROVENANCE
        if not there.is_file():
            raise UserError(f"publish.uri: {str(destination)!r}: exists and is not ours: it is not overwritten")
        if there.read_bytes() == (bundle / PROVENANCE).read_bytes():
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
    api = hub_api(endpoint)
    for folder, kind, repository in (("model", "model", name), ("dataset", "dataset", f"{name}{DATASET_SUFFIX}")):
        shutil.copyfile(bundle / PROVENANCE, bundle / folder / PROVENANCE)

        def upload(folder: str = folder, kind: str = kind, repository: str = repository) -> None:
            api.create_repo(repository, repo_type=kind, exist_ok=True)
            api.upload_folder(repo_id=repository, repo_type=kind, folder_path=bundle / folder)

        ask_hub("publish.uri", repository, upload)


def to_s3(bundle: Path, uri: str) -> None:
    """Upload the bundle below a key, the provenance last."""
    key = uri.removeprefix("s3://").rstrip("/")
    files = sorted(path for path in bundle.rglob("*") if path.is_file() and path != bundle / PROVENANCE)

    def upload() -> None:
        store = s3()
        # File by file: for a folder the library looks for the bucket and makes it, which keys that write need not let.
        for path in (*files, bundle / PROVENANCE):
            store.put_file(str(path), f"{key}/{path.relative_to(bundle)}")

    ask_store(f"publish.uri: {uri!r}", "publish.s3SecretRef", upload)
