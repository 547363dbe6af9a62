"""Writes the questions of the benchmarks: ``prompts/`` and ``materials/`` of the artifact of ``prepare``."""

import hashlib
import heapq
import logging
from contextlib import ExitStack
from dataclasses import dataclass

from fusionrun.api.artifacts import MATERIALS, PROMPTS
from fusionrun.api.evaluation_records import Question
from fusionrun.api.tasks.parameters import PrepareParameters
from fusionrun_stages.benchmarks.reader import BenchmarkReader, open_benchmark
from fusionrun_stages.errors import UserError
from fusionrun_stages.prompts.counts import PromptCounts
from fusionrun_stages.volume.atomic import write_atomic
from fusionrun_stages.volume.paths import inside_volume, shard_path
from fusionrun_stages.volume.sorting import Pool, open_shards
from fusionrun_stages.work import Work

log = logging.getLogger(__name__)

REPORT_QUESTIONS = 500
MATERIAL_MAX_BYTES = 16 * 2**20
"""Largest file of materials. The published ones have at most a few MiB."""


@dataclass(frozen=True)
class Written:
    """The files of the benchmarks, relative to the artifact, and the counts of their rows."""

    files: list[str]
    counts: dict[str, PromptCounts]


def write_benchmarks(parameters: PrepareParameters, work: Work) -> Written:
    """Write the questions of all benchmarks, sorted by their identifiers, and their materials."""
    readers = [open_benchmark(dataset) for dataset in parameters.datasets]
    for reader in readers:
        if (protocol := reader.dataset.protocol) and protocol.licence:
            log.info("%s: protocol %s, licence of the questions: %s", reader.where, protocol.name, protocol.licence)
    counts = {reader.dataset.name: PromptCounts() for reader in readers}
    files = [name for reader in readers for name in copy_materials(reader, work)]
    done = 0
    with ExitStack() as stack:
        writer = stack.enter_context(
            open_shards(work.output / PROMPTS, parameters.shards, Question, ["prompt_id"], Pool())
        )
        for reader in readers:
            count = counts[reader.dataset.name]
            chosen = choose(reader, parameters.seed)
            for question in reader.questions(count):
                if chosen is not None and question.prompt_id not in chosen:
                    count.over_limit += 1
                    continue
                writer.append(int(question.prompt_id, 16) % parameters.shards, question)
                count.prompts += 1
                done += 1
                if done % REPORT_QUESTIONS == 0:
                    work.report(done, 0, "questions")
    work.report(done, done, "questions")
    shards = [str(shard_path(PROMPTS, shard, parameters.shards)) for shard in range(parameters.shards)]
    return Written([*shards, *files], counts)


def choose(reader: BenchmarkReader, seed: int) -> set[str] | None:
    """Return the identifiers of a seeded sample of ``maxPrompts`` questions; None for all questions.

    The order is that of ``PromptSelection``: a larger sample contains a smaller one.
    """
    limit = reader.dataset.max_prompts
    if limit is None:
        return None
    identifiers = (question.prompt_id for question in reader.questions(PromptCounts()))
    return set(heapq.nsmallest(limit, identifiers, key=lambda prompt_id: _rank(seed, prompt_id)))


def _rank(seed: int, prompt_id: str) -> bytes:
    return hashlib.sha256(f"{seed}\0{int(prompt_id, 16)}".encode()).digest()


def copy_materials(reader: BenchmarkReader, work: Work) -> list[str]:
    """Copy the files that judges and aggregations read; return their paths relative to the artifact."""
    names = []
    for name, path in reader.materials.items():
        size = inside_volume(path).stat().st_size
        if size > MATERIAL_MAX_BYTES:
            raise UserError(
                f"{reader.where}: {str(path)!r}: {size} bytes: a file for a judge has at most {MATERIAL_MAX_BYTES}"
            )
        relative = f"{MATERIALS}/{reader.dataset.name}/{name}"
        destination = work.output / relative
        destination.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(destination, path.read_bytes())
        names.append(relative)
    return names
