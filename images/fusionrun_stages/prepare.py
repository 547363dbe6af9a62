"""Read the data sets into prompt shards; drop and count duplicates, benchmark prompts and more.

Usage: ``FUSIONRUN_TASK=task.json python -m fusionrun_stages prepare``

Reads the data twice in bounded memory: the first pass selects the prompts (``prompts.selection``), the second writes
them. A data set with ``maxResponsesPerPrompt`` is read once more in between, to choose the responses of the selected
prompts. The same input gives the same bytes.
"""

import json
import logging
from collections import Counter
from contextlib import ExitStack
from pathlib import Path

from fusionrun.api.artifacts import CONTAMINATION_FILE, PROMPTS, RESPONSES, SOLUTIONS
from fusionrun.api.records import Prompt, Response
from fusionrun.api.stage import PREPARE_BENCHMARKS
from fusionrun.api.tasks.parameters import PrepareParameters
from fusionrun_stages.benchmarks.questions import write_benchmarks
from fusionrun_stages.benchmarks.reader import open_benchmark
from fusionrun_stages.harness.questions import read_questions
from fusionrun_stages.models.reasoning import split_reasoning
from fusionrun_stages.prompts.contamination import BenchmarkIndex
from fusionrun_stages.prompts.counts import PromptCounts, total
from fusionrun_stages.prompts.dataset_rows import DatasetReader, PromptKey, open_dataset
from fusionrun_stages.prompts.kept_responses import KeptResponses
from fusionrun_stages.prompts.selection import REPORT_ROWS, PromptSelection
from fusionrun_stages.volume.atomic import write_atomic
from fusionrun_stages.volume.paths import shard_path
from fusionrun_stages.volume.sorting import Pool, SortingWriter, open_shards
from fusionrun_stages.work import Made, Work

log = logging.getLogger(__name__)


def run(work: Work) -> Made:
    """Write ``prompts/``, ``responses/<source>/`` for responses in data sets, and ``solutions/``.

    For benchmarks, write ``prompts/`` with their questions, and ``materials/``.
    """
    parameters = work.parameters(PrepareParameters)
    if work.task.stage.startswith(PREPARE_BENCHMARKS):
        written = write_benchmarks(parameters, work)
        return _made(written.files, written.counts)
    reader = DatasetReader({d.name: open_dataset(d, "datasets") for d in parameters.datasets})
    benchmarks = [open_benchmark(benchmark) for benchmark in parameters.benchmarks]
    index = BenchmarkIndex()
    for benchmark in benchmarks:
        index.add(benchmark.dataset.name, benchmark.texts())
    for name, folder in parameters.harness_data.items():
        index.add(name, read_questions(Path(folder)))
    selection = PromptSelection(reader, index, parameters.seed, lambda rows: work.report(rows, 0, "rows"))
    for dataset in parameters.datasets:
        selection.add(dataset)
    selection.finish()
    kept = KeptResponses(parameters.seed)
    for dataset in parameters.datasets:
        if dataset.max_responses_per_prompt is not None:
            kept.add(dataset, (row for row in reader.rows(dataset) if row.key in selection.kept))
    made = write_shards(parameters, selection, kept, work)
    report = json.dumps(selection.contamination.as_json(index), ensure_ascii=False, indent=1)
    write_atomic(work.output / CONTAMINATION_FILE, report.encode())
    return _made([*made, CONTAMINATION_FILE], selection.counts)


def _made(files: list[str], counts: dict[str, PromptCounts]) -> Made:
    for name, one in counts.items():
        _log_counts(name, one)
    details = {"datasets": {name: one.as_json() for name, one in counts.items()}}
    return Made(values=total(counts), files=files, details=details)


def _log_counts(name: str, counts: PromptCounts) -> None:
    log.info("%s: %s", name, counts)
    if counts.bad:
        log.warning("%s: %d of %d rows are unusable: %s", name, counts.bad_rows, counts.rows, counts.bad_examples)
    if counts.no_response:
        log.warning("%s: rows without a response: %s", name, counts.no_response_examples)


def write_shards(
    parameters: PrepareParameters, selection: PromptSelection, kept: KeptResponses, work: Work
) -> list[str]:
    """Write every kept prompt, and its responses from data sets, to the shard of the prompt's hash."""
    sources = sorted({source for d in parameters.datasets for source in d.responses_columns})
    folders = [PROMPTS, *(f"{RESPONSES}/{source}" for source in sources)]
    if any(d.columns.solution for d in parameters.datasets):
        folders.append(SOLUTIONS)
    pool = Pool()
    with ExitStack() as stack:
        writers = {
            folder: stack.enter_context(
                open_shards(work.output / folder, parameters.shards, Prompt, ["prompt_id"], pool)
                if folder == PROMPTS
                else open_shards(work.output / folder, parameters.shards, Response, ["prompt_id", "sample_index"], pool)
            )
            for folder in folders
        }
        _write_rows(parameters, selection, kept, writers, work)
    return [
        str(shard_path(folder, shard, parameters.shards)) for folder in folders for shard in range(parameters.shards)
    ]


def _write_rows(
    parameters: PrepareParameters,
    selection: PromptSelection,
    kept: KeptResponses,
    writers: dict[str, SortingWriter],
    work: Work,
) -> None:
    prompt_ids: dict[PromptKey, str] = {}
    samples: Counter[tuple[PromptKey, str]] = Counter()
    earlier: set[str] = set()
    for dataset in parameters.datasets:
        earlier.add(dataset.name)
        for row in selection.reader.rows(dataset):
            owner = selection.owner[row.key] if row.key in selection.kept else None
            if owner not in earlier:
                continue
            shard = row.key % parameters.shards
            if row.key not in prompt_ids:
                prompt = row.to_prompt(dataset)
                prompt_ids[row.key] = prompt.prompt_id
                writers[PROMPTS].append(shard, prompt)
                if row.solution:
                    writers[SOLUTIONS].append(shard, _response(prompt.prompt_id, owner, SOLUTIONS, 0, row.solution))
                if len(prompt_ids) % REPORT_ROWS == 0:
                    work.report(len(prompt_ids), len(selection.kept), "prompts")
            for source, text in row.responses.items():
                if not kept.take(dataset, row, source):
                    selection.counts[dataset.name].responses_over_limit += 1
                    continue
                response = _response(prompt_ids[row.key], owner, source, samples[row.key, source], text)
                samples[row.key, source] += 1
                writers[f"{RESPONSES}/{source}"].append(shard, response)
    work.report(len(prompt_ids), len(selection.kept), "prompts")


def _response(prompt_id: str, dataset: str, source: str, sample_index: int, text: str) -> Response:
    answer, reasoning = split_reasoning(text)
    return Response(
        prompt_id=prompt_id,
        dataset=dataset,
        source=source,
        sample_index=sample_index,
        text=answer,
        finish_reason="stop",
        reasoning=reasoning,
    )
