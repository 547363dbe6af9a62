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

from fusionrun.api.artifacts import DATASET_FILES, MODEL, PROVENANCE_FILE, SUMMARY_FILE, claim_path, model_dir
from fusionrun.api.results.values import Constructed, Promoted, Published
from fusionrun.api.spec.run import FusionRunSpec
from fusionrun.api.stage import StageKind
from fusionrun.api.tasks.parameters import PublishParameters
from fusionrun_stages.cards.dataset import build_dataset_card
from fusionrun_stages.cards.declared import read_licence
from fusionrun_stages.cards.facts import Facts
from fusionrun_stages.cards.model import build_model_card
from fusionrun_stages.cards.published import published_spec
from fusionrun_stages.cards.scores import Scores
from fusionrun_stages.models.recipe_template import saved_template
from fusionrun_stages.remote.hub import hub_id
from fusionrun_stages.remote.publication import DATASET, to_folder, to_hub, to_s3
from fusionrun_stages.volume.atomic import read_json, write_atomic
from fusionrun_stages.volume.copying import copy_file, copy_folder
from fusionrun_stages.volume.manifest import read_input, read_manifest
from fusionrun_stages.volume.paths import dataset_folder, inside_volume, on_volume
from fusionrun_stages.work import Made, Work

log = logging.getLogger(__name__)


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
        to_hub(bundle, hub_id(destination), parameters.hub_endpoint, private=parameters.private)
    elif destination.startswith("s3://"):
        to_s3(bundle, destination)
    else:
        folder = on_volume(claim_path(destination)) if destination.startswith("pvc://") else Path(destination)
        to_folder(bundle, folder, work.task.digest)
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
    copy_folder(inside_volume(parameters.model_path), bundle / MODEL)
    complete_generation_config(bundle / MODEL, spec)
    scores = (
        Scores(parameters.results, parameters.groups) if parameters.results else Scores.of_numbers(parameters.scores)
    )
    (bundle / MODEL / "README.md").write_text(build_model_card(facts, scores, saved_template(bundle / MODEL)))
    (bundle / DATASET).mkdir()
    for name in DATASET_FILES:
        if (dataset / name).is_file():
            copy_file(inside_volume(dataset / name), bundle / DATASET / name)
    markdown, page = build_dataset_card(facts)
    (bundle / DATASET / "README.md").write_text(markdown)
    (bundle / DATASET / "card.html").write_text(page)
    provenance = {
        "run": work.task.run,
        "namespace": work.task.namespace,
        "digest": work.task.digest,
        "spec": published_spec(spec),
        "scores": parameters.scores,
        "results": [row.model_dump(mode="json", exclude_none=True) for row in parameters.results],
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
    target = spec.trained.model.uri
    if target.startswith("pvc://"):
        folders["target"] = on_volume(claim_path(target))
    elif pin := parameters.pins.get("target.model"):
        folders["target"] = on_volume(model_dir(pin))
    for dataset in spec.datasets:
        if dataset.uri is not None and dataset.uri.startswith("pvc://"):
            path = on_volume(claim_path(dataset.uri))
            folders[f"datasets[{dataset.name}]"] = path if path.is_dir() else path.parent
        elif pin := parameters.pins.get(f"datasets[{dataset.name}]"):
            folders[f"datasets[{dataset.name}]"] = dataset_folder(pin)
    evaluated = parameters.evaluation_dir
    evaluation = read_manifest(Path(evaluated), StageKind.EVALUATE) if evaluated else None
    licences = {field: licence for field, folder in folders.items() if (licence := read_licence(folder))}
    return Facts(
        name=name,
        spec=spec,
        made=made,
        details=details,
        summary=read_json(summary) if summary.is_file() else {},
        pins=parameters.pins,
        licences=licences,
        benchmark_licences=parameters.benchmark_licences,
        evaluated=evaluation.details if evaluation else {},
    )


def complete_generation_config(model: Path, spec: FusionRunSpec) -> None:
    """Write a ``generation_config.json`` with every end-of-text token of the model and of its base.

    The end-of-turn token of a chat model may differ from its end-of-text token (Gemma: 107 and 1; Llama: 128008, 128009
    and 128001). If one is missing, a server generates past the end.
    """
    path = model / "generation_config.json"
    folders = [model]
    if spec.trained.model.uri.startswith("pvc://"):
        folders.append(on_volume(claim_path(spec.trained.model.uri)))
    ids: list[int] = []
    for source in [f / n for f in folders for n in ("generation_config.json", "config.json")]:
        eos = read_json(source).get("eos_token_id") if source.is_file() else None
        ids += eos if isinstance(eos, list) else [eos] if isinstance(eos, int) else []
    config = read_json(path) if path.is_file() else {}
    unique = list(dict.fromkeys(ids))
    if unique:
        config["eos_token_id"] = unique if len(unique) > 1 else unique[0]
    write_atomic(path, (json.dumps(config, indent=2) + "\n").encode())
