"""Read the data sets into prompt shards: columns mapped; duplicates, benchmark items and more left out, all counted.

Two passes over the data, each in bounded memory: the first decides by hashes which prompts stay, the second writes
them. The same input gives the same bytes.
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
from fusionrun_stages.prompts.contamination import FILE as CONTAMINATION_FILE
from fusionrun_stages.prompts.contamination import Hit, Leak, Overlap, Report
from fusionrun_stages.prompts.near_duplicates import NearDuplicates
from fusionrun_stages.prompts.rows import COUNTED, Item, Key, Reader, Tally, open_dataset
from fusionrun_stages.prompts.subjects import subject_of
from fusionrun_stages.volume.atomic import write_atomic
from fusionrun_stages.volume.paths import shard_path
from fusionrun_stages.volume.sorting import Pool, SortingWriter
from fusionrun_stages.work import Made, Work

log = logging.getLogger(__name__)

NEAR_EXAMPLES = 20
EXAMPLE_CHARACTERS = 240
REPORT_ROWS = 5000
BENCHMARKS_STAGE = "/benchmarks"
"""How the name of the stage that prepares benchmarks ends."""


@dataclass
class Survey:
    """What the first pass found out."""

    seed: int
    owner: dict[Key, int] = field(default_factory=dict)
    """The data set that keeps each prompt, by its index: the first that has it and does not leave it out."""
    usable: list[set[Key]] = field(default_factory=list)
    """By data set: the prompts that are its own."""
    hits: dict[Key, tuple[Hit, str, str]] = field(default_factory=dict)
    """What prompts share with benchmarks, their identifiers, and how they begin."""
    near: dict[tuple[str, float], NearDuplicates] = field(default_factory=dict)
    """By task and threshold."""
    kept: set[Key] = field(default_factory=set)
    tallies: dict[str, Tally] = field(default_factory=dict)
    report: Report = field(default_factory=Report)


def run(work: Work) -> Made:
    """Write ``prompts/``, for sources that a data set answers for ``responses/<source>/``, and ``solutions/``."""
    parameters = work.task.parameters
    assert isinstance(parameters, PrepareParameters)
    apart = work.task.stage.endswith(BENCHMARKS_STAGE)
    reader = Reader({d.name: open_dataset(d, "datasets") for d in parameters.datasets}, apart)
    benchmarks = Reader({b.name: open_dataset(b, "benchmarks") for b in parameters.benchmarks}, apart=True)
    overlap = Overlap()
    for benchmark in parameters.benchmarks:
        overlap.add(benchmark.name, (item.text for item in benchmarks.items(benchmark)))
    survey = take_survey(reader, parameters, overlap, work)
    made = write_shards(reader, parameters, survey, work)
    if not apart:
        report = json.dumps(survey.report.as_json(overlap), ensure_ascii=False, indent=1)
        write_atomic(work.output / CONTAMINATION_FILE, report.encode())
        made.append(CONTAMINATION_FILE)
    totals = Counter[str]()
    for name, tally in survey.tallies.items():
        log.info("%s: %s", name, tally)
        for what in COUNTED:
            totals[what] += getattr(tally, what)
    told = {n: vars(t) | {"bad": dict(t.bad), "bad_rows": t.bad_rows} for n, t in survey.tallies.items()}
    return Made(files=made, counts={k: totals[k] for k in COUNTED}, details={"datasets": told})


def take_survey(reader: Reader, parameters: PrepareParameters, overlap: Overlap, work: Work) -> Survey:
    """Decide which prompts stay.

    Raises
    ------
    UserError
        If a data set has no usable row.
    """
    survey = Survey(parameters.seed)
    for index, dataset in enumerate(parameters.datasets):
        tally = survey.tallies[dataset.name] = Tally()
        survey.usable.append(_look_through(reader, survey, index, dataset, overlap, work))
        if tally.rows == tally.bad_rows:
            raise UserError(f"datasets[{dataset.name}]: no usable row among {tally.rows}; {tally.first_bad}")
    # How common an n-gram is, is known only now.
    for dataset, own in zip(parameters.datasets, survey.usable, strict=True):
        tally = survey.tallies[dataset.name]
        clean = own - _contaminated(survey, dataset, own, overlap)
        kept = clean
        if dataset.max_prompts is not None:
            kept = set(heapq.nsmallest(dataset.max_prompts, clean, key=lambda key: rank(parameters.seed, key)))
        tally.over_limit = len(clean) - len(kept)
        tally.prompts = len(kept)
        survey.kept |= kept
    return survey


def _look_through(
    reader: Reader, survey: Survey, index: int, dataset: DatasetParameters, overlap: Overlap, work: Work
) -> set[Key]:
    """Return the prompts that are this data set's own; note what they share with the benchmarks.

    A prompt that is left out for what it is about, or for one that it is like, is free for the next data set.
    """
    tally = survey.tallies[dataset.name]
    usable: set[Key] = set()
    left_out: set[Key] = set()
    for item in reader.items(dataset, tally):
        if tally.rows % REPORT_ROWS == 0:
            work.report(tally.rows, 0, "rows")
        if item.key in survey.owner or item.key in left_out:
            # A row that brings a response to a known prompt is no duplicate: its response is kept.
            tally.duplicates += not item.responses
        elif _is_dropped(survey, dataset, item):
            left_out.add(item.key)
        else:
            survey.owner[item.key] = index
            usable.add(item.key)
            hit = overlap.look(item.text)
            if hit is not None:
                survey.hits[item.key] = hit, item.prompt_id(dataset), item.text[:EXAMPLE_CHARACTERS]
    return usable


def _is_dropped(survey: Survey, dataset: DatasetParameters, item: Item) -> bool:
    """Tell whether a prompt is about what its data set excludes, or like an earlier one; count it."""
    tally = survey.tallies[dataset.name]
    subject = subject_of(item.text, item.category) if dataset.excluded_subjects else None
    if subject in dataset.excluded_subjects:
        tally.count_subject(subject)
        return True
    threshold = dataset.near_duplicate_threshold
    if not threshold:
        return False
    near = survey.near.get((dataset.task, threshold))
    if near is None:
        near = survey.near[dataset.task, threshold] = NearDuplicates(threshold, survey.seed)
    if not near.is_near(item.text):
        return False
    tally.near_duplicates += 1
    if len(tally.near_examples) < NEAR_EXAMPLES:
        tally.near_examples.append(item.text[:EXAMPLE_CHARACTERS])
    return True


def _contaminated(survey: Survey, dataset: DatasetParameters, usable: set[Key], overlap: Overlap) -> set[Key]:
    """Return the prompts that overlap a benchmark, and report them."""
    found: set[Key] = set()
    for key, (hit, prompt_id, text) in survey.hits.items():
        shared = overlap.judge(hit) if key in usable else None
        if shared is None:
            continue
        found.add(key)
        benchmark, words = shared
        survey.report.add(Leak(prompt_id, dataset.name, benchmark, text, words[:EXAMPLE_CHARACTERS]))
    survey.tallies[dataset.name].contaminated = len(found)
    return found


def rank(seed: int, key: Key) -> bytes:
    """Return a prompt's place in the seeded random order."""
    return hashlib.sha256(f"{seed}\0{key}".encode()).digest()


def write_shards(reader: Reader, parameters: PrepareParameters, survey: Survey, work: Work) -> list[str]:
    """Write every kept prompt, and the responses that data sets bring, into the shard of the prompt's hash."""
    folders = [work.output / "prompts"]
    sources = sorted({source for d in parameters.datasets for source in d.responses_columns})
    folders += [work.output / "responses" / source for source in sources]
    if any(d.columns.solution for d in parameters.datasets):
        folders.append(work.output / SOLUTIONS)
    count = parameters.shards
    written: dict[Key, str] = {}
    """Kept prompts that are written, with their identifier."""
    samples: Counter[tuple[Key, str]] = Counter()
    paths = {
        (number, shard): shard_path(folder, shard, count)
        for number, folder in enumerate(folders)
        for shard in range(count)
    }
    pool = Pool()
    with ExitStack() as stack:
        writers = {
            place: stack.enter_context(
                SortingWriter(path, Response, ["prompt_id", "sample_index"], pool)
                if place[0]
                else SortingWriter(path, Prompt, ["prompt_id"], pool)
            )
            for place, path in paths.items()
        }
        for index, dataset in enumerate(parameters.datasets):
            for item in reader.items(dataset):
                if item.key not in survey.kept or survey.owner[item.key] > index:
                    continue
                shard = item.key % count
                if item.key not in written:
                    prompt = item.prompt_of(dataset)
                    written[item.key] = prompt.prompt_id
                    writers[0, shard].append(prompt)
                    if item.solution:
                        solution = Response(
                            prompt_id=prompt.prompt_id,
                            dataset=prompt.dataset,
                            source=SOLUTIONS,
                            sample_index=0,
                            text=item.solution,
                            finish_reason="stop",
                        )
                        writers[len(folders) - 1, shard].append(solution)
                    if len(written) % REPORT_ROWS == 0:
                        work.report(len(written), len(survey.kept), "prompts")
                owner = parameters.datasets[survey.owner[item.key]].name
                for source, text in item.responses.items():
                    response = Response(
                        prompt_id=written[item.key],
                        dataset=owner,
                        source=source,
                        sample_index=samples[item.key, source],
                        text=text,
                        finish_reason="stop",
                    )
                    samples[item.key, source] += 1
                    writers[1 + sources.index(source), shard].append(response)
    work.report(len(written), len(survey.kept), "prompts")
    return [str(path.relative_to(work.output)) for path in paths.values()]
