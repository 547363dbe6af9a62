"""Compare what a run needs with the memory of a GPU and the free space of the claim."""

import logging
import shutil
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

from fusionrun.api.artifacts import PIN_LENGTH, model_dir
from fusionrun.api.stage import Reference, ReferenceKind
from fusionrun.api.tasks.demand import Demand
from fusionrun_stages.cards.licences import WARNED, Licence, Outputs, licence_of_dataset, licence_of_model
from fusionrun_stages.fit import disk, memory
from fusionrun_stages.fit.architecture import Architecture, parameters_of, read_architecture
from fusionrun_stages.fit.memory import Need, Verdict, gib
from fusionrun_stages.models.weights import weights_in
from fusionrun_stages.resolving.faults import Faults
from fusionrun_stages.resolving.references import Pinned
from fusionrun_stages.volume.paths import on_volume, volume_root

log = logging.getLogger(__name__)

NAME_CHARACTERS = 100
"""Longest name of a licence in the result of ``resolve``."""


@dataclass(frozen=True)
class ModelFacts:
    """What is known about a model before it is downloaded."""

    field: str
    architecture: Architecture | None
    parameters: int | None
    weights_bytes: int
    licence: Licence


def model_facts(reference: Reference, pinned: Pinned) -> ModelFacts:
    """Return the facts of a model; its licence is the one that its card declares, else the one of its name."""
    licence = licence_of_model(reference.uri, pinned.licence)
    _warn(reference, licence)
    return ModelFacts(
        reference.field,
        read_architecture(pinned.config),
        parameters_of(pinned.config, pinned.weights_bytes),
        pinned.weights_bytes,
        licence,
    )


def warn_of_datasets(references: Sequence[Reference], pinned: Mapping[int, Pinned]) -> None:
    """Log the licences of data sets that restrict training. Benchmarks are left out: no model is trained on them."""
    for i, reference in enumerate(references):
        if i in pinned and reference.field.startswith("datasets["):
            _warn(reference, licence_of_dataset(reference.uri, pinned[i].licence))


def _warn(reference: Reference, licence: Licence) -> None:
    if licence.outputs in WARNED:
        log.warning(
            "%s: %s: outputs as training data: %s: %s", reference.field, licence.name, licence.outputs, licence.terms
        )


def memory_needs(demand: Demand, models: Mapping[int, ModelFacts]) -> list[Need]:
    """Return the memory per GPU of every server, of the reward model and of training. ``models`` is by reference.

    A model whose reference has a fault is left out.
    """
    found: list[Need] = []
    for served in demand.served:
        if model := models.get(served.reference):
            size = demand.gpu_memory_of(served)
            need = memory.served(served, model.architecture, model.parameters, model.weights_bytes, size)
            found.append(replace(need, gpu_memory=size))
    if demand.reward and (model := models.get(demand.reward.reference)):
        need = memory.reward(demand.reward, model.architecture, model.parameters, model.weights_bytes)
        found.append(replace(need, gpu_memory=demand.gpu_memory_of(demand.reward)))
    training = demand.training
    target = models.get(training.reference) if training else None
    if training and target and target.parameters and training.on_gpus:
        needs = [memory.training(training, target.architecture, target.parameters, dpo=dpo) for dpo in (False, True)]
        found += [replace(need, gpu_memory=demand.gpu_memory_of(training)) for need in needs]
    return found


def check_memory(needs: Sequence[Need], faults: Faults) -> dict[str, str]:
    """Report every part of the run that cannot fit a GPU; return the verdicts with their texts, by field."""
    texts = {}
    for need in needs:
        size = need.gpu_memory
        verdict = need.verdict(size)
        usable = f" of {gib(need.share * size)} GiB that it may use" if size else ""
        texts[need.field] = f"{verdict}: {need.text()}{usable}"
        log.log(logging.WARNING if verdict is Verdict.TIGHT else logging.INFO, "%s: %s", need.field, texts[need.field])
        if verdict is Verdict.TOO_LARGE and size:
            parts = ", ".join(f"{name} {gib(value)}" for name, value in need.parts.items())
            needed = f"{gib(need.certain)} GiB per GPU ({parts}) of {gib(need.share * size)} that it may use"
            faults.add(f"{need.field}: needs {needed}: {need.advice}")
    return texts


def training_hints(demand: Demand, models: Mapping[int, ModelFacts]) -> dict[str, str]:
    """Return, by their fields, a ZeRO stage and micro-batches that fit as well and are faster.

    The run does not choose them: they are parts of the digest, and the result differs in rounding.
    """
    training = demand.training
    target = models.get(training.reference) if training else None
    if training is None or not training.on_gpus or target is None or not target.parameters:
        return {}
    fit = (training, target.architecture, target.parameters, demand.gpu_memory_of(training))
    hints = {}
    if training.zero_stage == 3 and memory.fits_zero_stage_2(*fit):  # noqa: PLR2004 -- the ZeRO stage
        hints["training.zeroStage"] = "3; 2 fits as well and is faster, since it gathers no weights during a step"
    for kind, micro_batch in (("sft", training.sft_micro_batch), ("dpo", training.dpo_micro_batch)):
        largest = memory.largest_micro_batch(*fit, dpo=kind == "dpo")
        if largest > micro_batch:
            hints[f"training.{kind}.microBatchSize"] = f"{micro_batch}; {largest} fits as well and is faster"
    for field, text in hints.items():
        log.info("%s: %s", field, text)
    return hints


def check_disk(
    demand: Demand | None,
    models: Mapping[int, ModelFacts],
    pinned: Mapping[int, Pinned],
    complete: Collection[str],
    faults: Faults,
) -> list[disk.Item]:
    """Report that the claim is too small; return what the run still writes to it.

    A model with two roles is downloaded once, and what is on the claim already is not counted.
    """
    unique = {pinned[i].fingerprint: i for i in reversed(list(models)) if not pinned[i].on_claim}
    downloads = {
        models[i].field: max(0, pinned[i].weights_bytes - fetched_bytes(fingerprint))
        for fingerprint, i in unique.items()
    }
    if demand is None:
        found = [disk.Item(f"download of {field}", size, estimate=False) for field, size in downloads.items() if size]
    else:
        target = models.get(demand.training.reference) if demand.training else None
        found = disk.items(
            demand,
            downloads,
            target.parameters if target else None,
            target.architecture if target else None,
            complete,
        )
    needed = sum(item.bytes for item in found)
    free = free_bytes()
    text = f"{needed / disk.GB:.1f} GB more, of {free / disk.GB:.1f} GB free: {disk.table(found)}"
    log.info("disk: the run writes %s", text)
    if needed > free:
        faults.add(f"storage.claimName: the volume is too small: the run needs {text}")
    return found


def free_bytes() -> int:
    """Return the free space of the volume."""
    return shutil.disk_usage(volume_root()).free


def fetched_bytes(fingerprint: str) -> int:
    """Return the bytes of a model's weights that are on the volume."""
    folder = on_volume(model_dir(fingerprint[:PIN_LENGTH]))
    return sum(path.stat().st_size for path in weights_in(folder))


def is_model(reference: Reference) -> bool:
    """Return whether a reference is to a model."""
    return reference.kind is ReferenceKind.MODEL


def terms(licence: Licence) -> str | None:
    """Return a licence in a few words if it restricts training on outputs; None if it does not.

    The name of a licence that is not known is any text of a model's card.
    """
    return None if licence.outputs is Outputs.FREE else f"{licence.name[:NAME_CHARACTERS]}: {licence.outputs}"
