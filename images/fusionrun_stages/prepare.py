"""Read the data sets into prompt shards; drop and count duplicates, benchmark prompts and more.

Usage: ``FUSIONRUN_TASK=task.json python -m fusionrun_stages prepare``

Reads the data twice in bounded memory: the first pass selects prompts by their hashes, the second writes them. The same
input gives the same bytes.
"""

import hashlib
import heapq
import json
import logging
from collections import Counter
from contextlib import ExitStack
from dataclasses import dataclass, field

from fusionrun.api.parameters import DatasetParameters, PrepareParameters
from fusionrun.api.records import Prompt, Response
from fusionrun_stages.errors import UserError
from fusionrun_stages.grading.reference_solutions import SOLUTIONS
from fusionrun_stages.prompts.contamination import (
    CONTAMINATION_FILE,
    BenchmarkIndex,
    ContaminatedPrompt,
    ContaminationReport,
    Match,
)
from fusionrun_stages.prompts.counts import COUNTED, DatasetCounts
from fusionrun_stages.prompts.dataset_rows import DatasetReader, DatasetRow, PromptKey, open_dataset
from fusionrun_stages.prompts.near_duplicates import NearDuplicates
from fusionrun_stages.prompts.subjects import subject_of
from fusionrun_stages.volume.atomic import write_atomic
from fusionrun_stages.volume.paths import shard_path
from fusionrun_stages.volume.sorting import Pool, SortingWriter, open_sorted
from fusionrun_stages.work import Made, Work

log = logging.getLogger(__name__)

NEAR_EXAMPLES = 20
EXAMPLE_CHARACTERS = 240
REPORT_ROWS = 5000
BENCHMARKS_STAGE = "/benchmarks"
"""Suffix of the name of the stage that prepares benchmarks."""


@dataclass
class Selection:
    """The prompts that the first pass selects."""

    seed: int
    owner: dict[PromptKey, int] = field(default_factory=dict)
    """Index of the data set that a prompt belongs to: the first that has and does not exclude it."""
    usable: list[set[PromptKey]] = field(default_factory=list)
    """Prompts that belong to each data set."""
    matches: dict[PromptKey, tuple[Match, str, str]] = field(default_factory=dict)
    """What a prompt shares with benchmarks, its identifier, and its first characters."""
    near: dict[tuple[str, float], NearDuplicates] = field(default_factory=dict)
    """By task and threshold."""
    kept: set[PromptKey] = field(default_factory=set)
    counts: dict[str, DatasetCounts] = field(default_factory=dict)
    """By data set."""
    report: ContaminationReport = field(default_factory=ContaminationReport)


def run(work: Work) -> Made:
    """Write ``prompts/``, ``responses/<source>/`` for responses in data sets, and ``solutions/``."""
    parameters = work.task.parameters
    assert isinstance(parameters, PrepareParameters)
    independent = work.task.stage.endswith(BENCHMARKS_STAGE)
    reader = DatasetReader({d.name: open_dataset(d, "datasets") for d in parameters.datasets}, independent)
    benchmarks = DatasetReader({b.name: open_dataset(b, "benchmarks") for b in parameters.benchmarks}, independent=True)
    index = BenchmarkIndex()
    for benchmark in parameters.benchmarks:
        index.add(benchmark.name, (row.text for row in benchmarks.rows(benchmark)))
    selection = select_prompts(reader, parameters, index, work)
    made = write_shards(reader, parameters, selection, work)
    if not independent:
        report = json.dumps(selection.report.as_json(index), ensure_ascii=False, indent=1)
        write_atomic(work.output / CONTAMINATION_FILE, report.encode())
        made.append(CONTAMINATION_FILE)
    totals = Counter[str]()
    for name, counts in selection.counts.items():
        log.info("%s: %s", name, counts)
        for what in COUNTED:
            totals[what] += getattr(counts, what)
    details = {"datasets": {name: counts.as_json() for name, counts in selection.counts.items()}}
    return Made(files=made, counts={k: totals[k] for k in COUNTED}, details=details)


def select_prompts(
    reader: DatasetReader, parameters: PrepareParameters, index: BenchmarkIndex, work: Work
) -> Selection:
    """Select the prompts to keep.

    Raises
    ------
    UserError
        If a data set has no usable row.
    """
    selection = Selection(parameters.seed)
    for number, dataset in enumerate(parameters.datasets):
        counts = selection.counts[dataset.name] = DatasetCounts()
        selection.usable.append(_select_usable(reader, selection, number, dataset, index, work))
        if counts.rows == counts.bad_rows:
            raise UserError(f"datasets[{dataset.name}]: no usable row among {counts.rows}; {counts.first_bad}")
    # How common an n-gram is, is only known after all data sets.
    for dataset, usable in zip(parameters.datasets, selection.usable, strict=True):
        counts = selection.counts[dataset.name]
        clean = usable - _contaminated(selection, dataset, usable, index)
        kept = clean
        if dataset.max_prompts is not None:
            kept = set(heapq.nsmallest(dataset.max_prompts, clean, key=lambda key: rank(parameters.seed, key)))
        counts.over_limit = len(clean) - len(kept)
        counts.prompts = len(kept)
        selection.kept |= kept
    return selection


def _select_usable(
    reader: DatasetReader,
    selection: Selection,
    number: int,
    dataset: DatasetParameters,
    index: BenchmarkIndex,
    work: Work,
) -> set[PromptKey]:
    """Return the prompts that belong to a data set; record what they share with the benchmarks.

    A prompt that is excluded by its subject or as a near-duplicate may belong to a later data set.
    """
    counts = selection.counts[dataset.name]
    usable: set[PromptKey] = set()
    excluded: set[PromptKey] = set()
    for row in reader.rows(dataset, counts):
        if counts.rows % REPORT_ROWS == 0:
            work.report(counts.rows, 0, "rows")
        if row.key in selection.owner or row.key in excluded:
            # A row with a response to a known prompt is not a duplicate: its response is kept.
            counts.duplicates += not row.responses
        elif _is_excluded(selection, dataset, row):
            excluded.add(row.key)
        else:
            selection.owner[row.key] = number
            usable.add(row.key)
            match = index.match(row.text)
            if match is not None:
                selection.matches[row.key] = match, row.prompt_id(dataset), row.text[:EXAMPLE_CHARACTERS]
    return usable


def _is_excluded(selection: Selection, dataset: DatasetParameters, row: DatasetRow) -> bool:
    """Whether a prompt has an excluded subject or is a near-duplicate of an earlier one; count it if so."""
    counts = selection.counts[dataset.name]
    subject = subject_of(row.text, row.category) if dataset.excluded_subjects else None
    if subject in dataset.excluded_subjects:
        counts.count_subject(subject)
        return True
    threshold = dataset.near_duplicate_threshold
    if not threshold:
        return False
    near = selection.near.get((dataset.task, threshold))
    if near is None:
        near = selection.near[dataset.task, threshold] = NearDuplicates(threshold, selection.seed)
    if not near.is_near_duplicate(row.text):
        return False
    counts.near_duplicates += 1
    if len(counts.near_examples) < NEAR_EXAMPLES:
        counts.near_examples.append(row.text[:EXAMPLE_CHARACTERS])
    return True


def _contaminated(
    selection: Selection, dataset: DatasetParameters, usable: set[PromptKey], index: BenchmarkIndex
) -> set[PromptKey]:
    """Return the prompts that overlap a benchmark, and report them."""
    found: set[PromptKey] = set()
    for key, (match, prompt_id, text) in selection.matches.items():
        overlap = index.find_overlap(match) if key in usable else None
        if overlap is None:
            continue
        found.add(key)
        benchmark, words = overlap
        dropped = ContaminatedPrompt(prompt_id, dataset.name, benchmark, text, words[:EXAMPLE_CHARACTERS])
        selection.report.add(dropped)
    selection.counts[dataset.name].contaminated = len(found)
    return found


def rank(seed: int, key: PromptKey) -> bytes:
    """Return a prompt's sort key in the seeded random order."""
    return hashlib.sha256(f"{seed}\0{key}".encode()).digest()


def write_shards(reader: DatasetReader, parameters: PrepareParameters, selection: Selection, work: Work) -> list[str]:
    """Write every kept prompt, and its responses from data sets, to the shard of the prompt's hash."""
    folders = [work.output / "prompts"]
    sources = sorted({source for d in parameters.datasets for source in d.responses_columns})
    folders += [work.output / "responses" / source for source in sources]
    if any(d.columns.solution for d in parameters.datasets):
        folders.append(work.output / SOLUTIONS)
    paths = {
        (number, shard): shard_path(folder, shard, parameters.shards)
        for number, folder in enumerate(folders)
        for shard in range(parameters.shards)
    }
    pool = Pool()
    with ExitStack() as stack:
        writers = {
            (number, shard): stack.enter_context(
                open_sorted(path, Response, ["prompt_id", "sample_index"], pool)
                if number
                else open_sorted(path, Prompt, ["prompt_id"], pool)
            )
            for (number, shard), path in paths.items()
        }
        _write_rows(reader, parameters, selection, sources, writers, work)
    work.report(len(selection.kept), len(selection.kept), "prompts")
    return [str(path.relative_to(work.output)) for path in paths.values()]


def _write_rows(
    reader: DatasetReader,
    parameters: PrepareParameters,
    selection: Selection,
    sources: list[str],
    writers: dict[tuple[int, int], SortingWriter],
    work: Work,
) -> None:
    """Write the kept rows; ``writers`` has those of prompts first, then of each source, then of solutions."""
    solutions = max(number for number, _ in writers)
    prompt_ids: dict[PromptKey, str] = {}
    """Of the prompts written so far."""
    samples: Counter[tuple[PromptKey, str]] = Counter()
    for index, dataset in enumerate(parameters.datasets):
        for row in reader.rows(dataset):
            if row.key not in selection.kept or selection.owner[row.key] > index:
                continue
            shard = row.key % parameters.shards
            if row.key not in prompt_ids:
                prompt = row.to_prompt(dataset)
                prompt_ids[row.key] = prompt.prompt_id
                writers[0, shard].append(prompt)
                if row.solution:
                    solution = _response(prompt.prompt_id, prompt.dataset, SOLUTIONS, 0, row.solution)
                    writers[solutions, shard].append(solution)
                if len(prompt_ids) % REPORT_ROWS == 0:
                    work.report(len(prompt_ids), len(selection.kept), "prompts")
            owner = parameters.datasets[selection.owner[row.key]].name
            for source, text in row.responses.items():
                sample = samples[row.key, source]
                samples[row.key, source] += 1
                response = _response(prompt_ids[row.key], owner, source, sample, text)
                writers[1 + sources.index(source), shard].append(response)


def _response(prompt_id: str, dataset: str, source: str, sample_index: int, text: str) -> Response:
    return Response(
        prompt_id=prompt_id,
        dataset=dataset,
        source=source,
        sample_index=sample_index,
        text=text,
        finish_reason="stop",
    )
