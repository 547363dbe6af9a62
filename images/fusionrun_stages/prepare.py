"""Read the data sets into prompt shards: columns mapped, duplicates and benchmark items left out, all counted.

Two passes over the data, each in bounded memory: the first decides by hashes which prompts stay, the second writes
them. The same input gives the same bytes.
"""

import hashlib
import heapq
import json
import logging
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fusionrun.api.artifacts import claim_path
from fusionrun.api.data import Grader, Task
from fusionrun.api.records import Prompt, Response
from fusionrun.api.task import DatasetParameters, PrepareParameters
from fusionrun_stages.contamination import Hit, Overlap
from fusionrun_stages.errors import InfrastructureError, UserError
from fusionrun_stages.remote import dataset_folder
from fusionrun_stages.shards import RowWriter, on_volume, shard_path, sort_rows
from fusionrun_stages.tables import DataFile, check_columns, local_files, read_rows, text_of
from fusionrun_stages.work import Made, Work

log = logging.getLogger(__name__)

EXAMPLES = 20
EXAMPLE_CHARACTERS = 240
REPORT_ROWS = 5000
BENCHMARKS_STAGE = "/benchmarks"
"""How the name of the stage that prepares benchmarks ends."""

Key = int
"""64 bits of a prompt's identity: text without regard to white space, and task."""


@dataclass(frozen=True, slots=True)
class Item:
    """A usable row of a data set."""

    key: Key
    normal: str
    """The prompt without regard to white space."""
    text: str
    answer: str | None
    tests: list[str] | None
    entry_point: str | None
    responses: dict[str, str]
    """By source."""

    def prompt_of(self, dataset: DatasetParameters) -> Prompt:
        """Return the row to be stored."""
        return Prompt(
            prompt_id=_hash(f"{dataset.name}\0{self.normal}")[:16],
            dataset=dataset.name,
            task=dataset.task,
            prompt=self.text,
            answer=self.answer,
            tests=self.tests,
            entry_point=self.entry_point,
        )


@dataclass
class Tally:
    """What became of the rows of one data set."""

    rows: int = 0
    prompts: int = 0
    duplicates: int = 0
    contaminated: int = 0
    over_limit: int = 0
    bad: Counter[str] = field(default_factory=Counter)
    """Rows that cannot be used, by reason."""
    first_bad: str = ""


@dataclass
class Survey:
    """What the first pass found out."""

    owner: dict[Key, int] = field(default_factory=dict)
    """The data set that keeps each prompt, by its index: the first that has it."""
    usable: list[set[Key]] = field(default_factory=list)
    """By data set: the prompts that are its own."""
    hits: dict[Key, tuple[Hit, str]] = field(default_factory=dict)
    """What prompts share with benchmarks, and how they begin."""
    kept: set[Key] = field(default_factory=set)
    tallies: dict[str, Tally] = field(default_factory=dict)
    examples: list[dict[str, str]] = field(default_factory=list)
    """Contaminated prompts, for people to look at."""


def run(work: Work) -> Made:
    """Write ``prompts/`` and, for sources that a data set answers for, ``responses/<source>/``."""
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
    totals = Counter[str]()
    for name, tally in survey.tallies.items():
        log.info("%s: %s", name, tally)
        for what in ("prompts", "duplicates", "contaminated", "over_limit"):
            totals[what] += getattr(tally, what)
        totals["bad_rows"] += sum(tally.bad.values())
    return Made(
        files=made,
        counts={k: totals[k] for k in ("prompts", "duplicates", "contaminated", "over_limit", "bad_rows")},
        details={
            "datasets": {n: vars(t) | {"bad": dict(t.bad)} for n, t in survey.tallies.items()},
            "contaminated_examples": survey.examples,
        },
    )


def open_dataset(dataset: DatasetParameters, what: str) -> list[DataFile]:
    """Find a data set's files on the volume and check them.

    Raises
    ------
    UserError
        If it is missing, empty or lacks a column.
    """
    where = f"{what}[{dataset.name}]"
    if dataset.uri.startswith("pvc://"):
        path = on_volume(claim_path(dataset.uri))
    elif dataset.uri.startswith("/"):
        path = Path(dataset.uri)
    else:
        path = dataset_folder(dataset.revision or "")
        if not dataset.revision or not path.is_dir():
            raise InfrastructureError(
                f"{where}: {dataset.uri}@{dataset.revision} is not on the volume: resolve brings it"
            )
    try:
        files = local_files(path, dataset.split)
        check_columns(files, wanted_columns(dataset))
    except UserError as error:
        raise UserError(f"{where}: {error}") from error
    return files


def wanted_columns(dataset: DatasetParameters) -> list[str]:
    """List the columns that a data set must have."""
    columns = dataset.columns
    named = [columns.prompt, columns.answer, columns.tests, columns.entry_point]
    return [*dict.fromkeys([*(c for c in named if c), *dataset.responses_columns.values()])]


def tests_of(value: Any) -> list[str] | None:
    """Return a cell's tests as a list of programs or statements; a string may be a JSON list of them."""
    if isinstance(value, str):
        if value.lstrip().startswith("["):
            try:
                return tests_of(json.loads(value))
            except ValueError:
                pass
        return [value] if value.strip() else None
    if isinstance(value, list):
        return [str(test) for test in value if str(test).strip()] or None
    return None


def response_of(value: Any) -> str | None:
    """Return a cell's response: itself, or the last turn of the assistant in a conversation."""
    if isinstance(value, list):
        turns = [t for t in value if isinstance(t, dict)]
        said = [
            t.get("content") or t.get("value")
            for t in turns
            if (t.get("role") or t.get("from")) in ("assistant", "gpt")
        ]
        return text_of(said[-1]) if said else None
    return text_of(value)


@dataclass(frozen=True)
class Reader:
    """Reads the data sets of one stage, as often as it is asked."""

    files: dict[str, list[DataFile]]
    apart: bool
    """Whether each data set stands alone: the same prompt in two benchmarks is measured in both."""

    def items(self, dataset: DatasetParameters, tally: Tally | None = None) -> Iterator[Item]:
        """Yield the usable rows of a data set; count the others in ``tally``."""
        tally = tally if tally is not None else Tally()
        columns = dataset.columns
        for where, row in read_rows(self.files[dataset.name], wanted_columns(dataset)):
            tally.rows += 1
            text = text_of(row.get(columns.prompt))
            answer = text_of(row.get(columns.answer)) if columns.answer else None
            tests = tests_of(row.get(columns.tests)) if columns.tests else None
            if text is None or (reason := what_lacks(dataset, answer, tests)):
                reason = f"no prompt in column {columns.prompt!r}" if text is None else reason
                tally.bad[reason] += 1
                tally.first_bad = tally.first_bad or f"{where}: {reason}"
                continue
            normal = " ".join(text.split())
            yield Item(
                key=int(_hash(f"{dataset.name if self.apart else dataset.task}\0{normal}")[:16], 16),
                normal=normal,
                text=text,
                answer=answer,
                tests=tests,
                entry_point=text_of(row.get(columns.entry_point)) if columns.entry_point else None,
                responses={
                    source: found
                    for source, column in sorted(dataset.responses_columns.items())
                    if (found := response_of(row.get(column))) is not None
                },
            )


def what_lacks(dataset: DatasetParameters, answer: str | None, tests: list[str] | None) -> str:
    """Say what a row lacks for its task; empty when it lacks nothing."""
    if dataset.task in (Task.MATHEMATICS, Grader.MATHEMATICS, Grader.EXACT_MATCH) and answer is None:
        return f"no answer in column {dataset.columns.answer!r}"
    if dataset.task in (Task.CODING, Grader.CODING) and not tests:
        return f"no tests in column {dataset.columns.tests!r}"
    return ""


def take_survey(reader: Reader, parameters: PrepareParameters, overlap: Overlap, work: Work) -> Survey:
    """Decide which prompts stay.

    Raises
    ------
    UserError
        If a data set has no usable row.
    """
    survey = Survey()
    for index, dataset in enumerate(parameters.datasets):
        tally = survey.tallies[dataset.name] = Tally()
        survey.usable.append(_look_through(reader, survey, index, dataset, overlap, work))
        if tally.rows == sum(tally.bad.values()):
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
    """Return the prompts that no data set before this one has; note what they share with the benchmarks."""
    tally = survey.tallies[dataset.name]
    usable: set[Key] = set()
    for item in reader.items(dataset, tally):
        if tally.rows % REPORT_ROWS == 0:
            work.report(tally.rows, 0, "rows")
        if survey.owner.setdefault(item.key, index) != index or item.key in usable:
            # A row that brings a response to a known prompt is no duplicate: its response is kept.
            tally.duplicates += not item.responses
            continue
        usable.add(item.key)
        hit = overlap.look(item.text)
        if hit is not None:
            survey.hits[item.key] = hit, item.text[:EXAMPLE_CHARACTERS]
    return usable


def _contaminated(survey: Survey, dataset: DatasetParameters, usable: set[Key], overlap: Overlap) -> set[Key]:
    """Return the prompts that overlap a benchmark, and keep some to be looked at."""
    found: set[Key] = set()
    for key, (hit, text) in survey.hits.items():
        shared = overlap.judge(hit) if key in usable else None
        if shared is None:
            continue
        found.add(key)
        if len(survey.examples) < EXAMPLES:
            words = shared[1][:EXAMPLE_CHARACTERS]
            survey.examples.append({"dataset": dataset.name, "benchmark": shared[0], "prompt": text, "shared": words})
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
    count = parameters.shards
    written: dict[Key, str] = {}
    """Kept prompts that are written, with their identifier."""
    samples: Counter[tuple[Key, str]] = Counter()
    paths = {
        (number, shard): shard_path(folder, shard, count)
        for number, folder in enumerate(folders)
        for shard in range(count)
    }
    with ExitStack() as stack:
        writers = {
            place: stack.enter_context(RowWriter(path, Response if place[0] else Prompt))
            for place, path in paths.items()
        }
        for dataset in parameters.datasets:
            for item in reader.items(dataset):
                if item.key not in survey.kept:
                    continue
                shard = item.key % count
                if item.key not in written:
                    prompt = item.prompt_of(dataset)
                    written[item.key] = prompt.prompt_id
                    writers[0, shard].append(prompt)
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
    for (number, _), path in paths.items():
        sort_rows(path, ["prompt_id", "sample_index"] if number else ["prompt_id"])
    work.report(len(written), len(survey.kept), "prompts")
    return [str(path.relative_to(work.output)) for path in paths.values()]


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
