"""The layout of a run's volume, the digests of artifacts, and the rule of their completeness.

Layout, below the root of the claim (mounted at ``MOUNT_PATH``)::

    fusionrun/
      models/<pin>/                 a model that ``fetch`` downloaded
      datasets/<pin>/               a data set that ``resolve`` downloaded
      pins/<pin>.json               the full commit of a pinned hub repository
      runs/<namespace>/<run>-<uid>/ what ``resolve`` found for a run
      artifacts/<kind>/<digest>/    the output of one stage
        manifest.json               the manifest, written last
        manifests/<shard>.json      instead, for an Indexed stage: one manifest per shard
        lease.json                  the pod that is writing the artifact; lease-<shard>.json for one shard
        parts/                      rows of ``generate`` and ``score`` that are not in a finished shard yet

Contents of an artifact, by kind::

    prepare     prompts/<shard>.parquet  responses/<source>/<shard>.parquet  solutions/<shard>.parquet
                contamination.json  materials/<benchmark>/
    generate    responses/<shard>.parquet  harness/<benchmark>.json  harness/<benchmark>[.scores].parquet
    verify      verdicts/<shard>.parquet
    score       scores/<shard>.parquet
    construct   sft.parquet  pairs.parquet  held-out.parquet  summary.json
    sft         model/  checkpoints/ and finished.json until the manifest is written
    dpo         model/  checkpoints/  finished.json
    promote     model/
    judge       judgements/<shard>.parquet
    evaluate    scores.parquet  harness/<benchmark>.json
    compare     comparison.json
    publish     provenance.json

A ``<shard>`` is named ``00003-of-00008``. The manifest is written by an atomic rename after everything else. Paths are
strings: this module does no I/O.
"""

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from pydantic_core import to_json

from fusionrun.api.contract import Contract
from fusionrun.api.records import SCHEMA_VERSION
from fusionrun.api.results.release_0_2 import PEAK_MEMORY, FlatValues, flatten, unflatten
from fusionrun.api.results.values import Values
from fusionrun.api.stage import PlannedStage
from fusionrun.api.storable import OptionalCount

MOUNT_PATH = "/data"
ROOT = f"{MOUNT_PATH}/fusionrun"
DIGEST_LENGTH = 20
PIN_LENGTH = 12
"""Hexadecimal digits of a pin: the start of a fingerprint."""
UID_LENGTH = 8

MANIFEST = "manifest.json"
MANIFESTS = "manifests"
PARTS = "parts"
LOGS = "logs"
"""The output of the containers that made the artifact, one file per container (``objects.logs``)."""

PROMPTS = "prompts"
RESPONSES = "responses"
SOLUTIONS = "solutions"
"""Reference solutions, as responses of a source with this name."""
VERDICTS = "verdicts"
SCORES = "scores"
JUDGEMENTS = "judgements"
HARNESS = "harness"
"""Results of the tasks of lm-eval (``api.harness``)."""
MATERIALS = "materials"
"""What protocols need besides the questions, one folder per benchmark: templates of judges and the like."""
QUESTION_SCORES_FILE = "scores.parquet"
"""The scores of a model on each question of the benchmarks."""
COMPARISON_FILE = "comparison.json"
"""The differences of the models on the benchmarks."""
MODEL = "model"
CHECKPOINTS = "checkpoints"

SFT_FILE = "sft.parquet"
PAIRS_FILE = "pairs.parquet"
HELD_OUT_FILE = "held-out.parquet"
DATASET_FILES = (SFT_FILE, PAIRS_FILE, HELD_OUT_FILE)
SUMMARY_FILE = "summary.json"
"""Statistics of the responses and rows, for the data set's card."""
CONTAMINATION_FILE = "contamination.json"
"""Prompts that overlap with a benchmark."""
FINISHED_FILE = "finished.json"
"""The values of a finished training. It is written when the model is saved, so that a retry does not train again."""
PROVENANCE_FILE = "provenance.json"
"""What was published, and from what."""


class ArtifactManifest(Contract):
    """The output of a stage, or of one shard of it. An artifact is complete if its manifests are."""

    schema_version: int
    stage: str
    digest: str
    files: dict[str, int]
    """Size in bytes of every file, by its path relative to the artifact."""
    peak_memory_bytes: OptionalCount = None
    values: Values | None = None
    details: dict[str, Any] = {}
    """For people and cards: the operator does not read it."""


def encode_manifest(manifest: ArtifactManifest) -> bytes:
    """Return a manifest as JSON that stages of release 0.2 can read, too."""
    flat = flatten(manifest.values, manifest.peak_memory_bytes)[0]
    return to_json(manifest.model_dump() | flat.model_dump(), indent=1, inf_nan_mode="null")


def decode_manifest(text: bytes, kind: str) -> ArtifactManifest:
    """Read the manifest of a stage of the given kind.

    Raises
    ------
    ValueError
        If the text is not a manifest.
    """
    manifest = ArtifactManifest.model_validate_json(text)
    if manifest.values is not None:
        return manifest
    flat = FlatValues.model_validate_json(text)
    memory = flat.counts.get(PEAK_MEMORY)
    return manifest.model_copy(update={"values": unflatten(kind, flat), "peak_memory_bytes": memory})


def is_complete(manifest: ArtifactManifest, size_of: Callable[[str], int | None]) -> bool:
    """Return whether all files that a manifest names have their sizes.

    ``size_of`` returns the size in bytes of a file of the artifact, or None if there is no such file.
    """
    unchanged = all(size_of(name) == size for name, size in manifest.files.items())
    return manifest.schema_version == SCHEMA_VERSION and unchanged


def artifact_dir(kind: str, digest: str) -> str:
    """Return the directory of a stage's artifact."""
    return f"{ROOT}/artifacts/{kind}/{digest}"


def model_dir(fingerprint: str) -> str:
    """Return the directory of a fetched model."""
    return f"{ROOT}/models/{fingerprint}"


def dataset_dir(fingerprint: str) -> str:
    """Return the directory of a downloaded data set."""
    return f"{ROOT}/datasets/{fingerprint[:PIN_LENGTH]}"


def pin_file(fingerprint: str) -> str:
    """Return the file that holds the full commit of a pinned hub repository."""
    return f"{ROOT}/pins/{fingerprint[:PIN_LENGTH]}.json"


def run_dir(namespace: str, run: str, uid: str) -> str:
    """Return the directory of what ``resolve`` found for a run."""
    return f"{ROOT}/runs/{namespace}/{run}-{uid[:UID_LENGTH]}"


def shard_name(index: int, count: int) -> str:
    """Name a shard, zero-based: ``00003-of-00008``."""
    return f"{index:05d}-of-{count:05d}"


def manifest_path(directory: str, shard: int | None, shards: int | None) -> str:
    """Return the path of an artifact's manifest, or of one shard's manifest of an Indexed stage."""
    if shard is None or shards is None:
        return f"{directory}/{MANIFEST}"
    return f"{directory}/{MANIFESTS}/{shard_name(shard, shards)}.json"


def manifest_paths(directory: str, shards: int | None) -> list[str]:
    """List the manifests that must be complete for an artifact to be complete: one per shard of an Indexed stage."""
    return [manifest_path(directory, shard, shards) for shard in ([None] if shards is None else range(shards))]


def lease_name(shard: int | None, shards: int | None) -> str:
    """Return the name of the lease of an artifact, or of one shard of it."""
    return "lease.json" if shard is None or shards is None else f"lease-{shard_name(shard, shards)}.json"


def canonical(value: Any) -> str:
    """Return the canonical JSON of a value: sorted keys, no spaces."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def stage_digest(parameters_digest: str, pins: Iterable[str], inputs: Iterable[str]) -> str:
    """Hash everything that a stage's output depends on.

    ``pins`` are those of the models and data sets that it reads, and ``inputs`` the digests of the stages that it
    reads, in the plan's order.
    """
    return _digest([parameters_digest, list(pins), list(inputs)])


def parameters_digest(kind: str, version: int, parameters: Mapping[str, Any]) -> str:
    """Hash a stage's kind, version and parameters."""
    return _digest([kind, version, dict(parameters)])


def _digest(value: Any) -> str:
    return hashlib.sha256(canonical(value).encode()).hexdigest()[:DIGEST_LENGTH]


def digests(stages: Iterable[PlannedStage], pins: list[str]) -> dict[str, str]:
    """Compute the digest of every stage's artifact from the pin of each reference of the plan.

    The operator and ``resolve`` compute the same digests. Each stage comes after those that it reads.
    """
    by_stage: dict[str, str] = {}
    for stage in stages:
        stage_pins, inputs = (pins[i] for i in stage.pins), (by_stage[name] for name in stage.inputs)
        by_stage[stage.name] = stage_digest(stage.parameters_digest, stage_pins, inputs)
    return by_stage


def claim_path(uri: str) -> str:
    """Return the path in a pod of ``pvc://claim/path``.

    Raises
    ------
    ValueError
        If the URI has another scheme, or its path leads out of the volume.
    """
    scheme, _, rest = uri.partition("://")
    _, _, path = rest.partition("/")
    parts = path.split("/")
    if scheme != "pvc" or not path or ".." in parts:
        raise ValueError(f"{uri!r} is not pvc://claim/path")
    return "/".join([MOUNT_PATH, *(p for p in parts if p not in ("", "."))])
