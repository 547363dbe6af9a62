"""Reads the questions of a benchmark in the order of its files, each with a unique identifier."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from fusionrun.api.evaluation_records import Question
from fusionrun.api.tasks.parameters import DatasetParameters
from fusionrun.api.tasks.protocol import Layout, PromptForm
from fusionrun_stages.benchmarks.form import user_message
from fusionrun_stages.benchmarks.item import Item, Opened
from fusionrun_stages.benchmarks.layouts.align_bench import open_align_bench
from fusionrun_stages.benchmarks.layouts.alpaca_eval import open_alpaca_eval
from fusionrun_stages.benchmarks.layouts.arena_hard import open_arena_hard
from fusionrun_stages.benchmarks.layouts.eval_plus import open_eval_plus
from fusionrun_stages.benchmarks.layouts.live_bench import open_live_bench
from fusionrun_stages.benchmarks.layouts.live_code_bench import open_live_code_bench
from fusionrun_stages.benchmarks.layouts.mathematics import open_amc23, open_gsm8k, open_math
from fusionrun_stages.benchmarks.layouts.mmlu_redux import open_mmlu_redux
from fusionrun_stages.benchmarks.layouts.mt_bench import open_mt_bench
from fusionrun_stages.benchmarks.layouts.multiple_choice import open_gpqa, open_mmlu, open_mmlu_pro
from fusionrun_stages.benchmarks.layouts.table import open_table
from fusionrun_stages.benchmarks.source import Source
from fusionrun_stages.errors import UserError
from fusionrun_stages.prompts.bad_rows import BadRowError, RawRow
from fusionrun_stages.prompts.counts import PromptCounts
from fusionrun_stages.prompts.dataset_rows import dataset_path, hash_text

Opener = Callable[[Source, DatasetParameters], Opened]


OPENERS: dict[Layout, Opener] = {
    Layout.TABLE: open_table,
    Layout.ALPACA_EVAL: open_alpaca_eval,
    Layout.ARENA_HARD: open_arena_hard,
    Layout.MT_BENCH: open_mt_bench,
    Layout.ALIGN_BENCH: open_align_bench,
    Layout.LIVE_BENCH: open_live_bench,
    Layout.MMLU_PRO: open_mmlu_pro,
    Layout.MMLU: open_mmlu,
    Layout.MMLU_REDUX: open_mmlu_redux,
    Layout.GPQA: open_gpqa,
    Layout.GSM8K: open_gsm8k,
    Layout.MATH: open_math,
    Layout.AMC_23: open_amc23,
    Layout.EVAL_PLUS: open_eval_plus,
    Layout.LIVE_CODE_BENCH: open_live_code_bench,
}
"""The function that opens the files of each layout."""


@dataclass(frozen=True)
class BenchmarkReader:
    """Reads one benchmark, any number of times."""

    dataset: DatasetParameters
    opened: Opened
    where: str
    """Field of the spec, the start of every error."""

    @property
    def materials(self) -> dict[str, Path]:
        """Files that only judges and aggregations read, by the names of their copies."""
        return dict(self.opened.materials)

    def texts(self) -> Iterator[str]:
        """Yield the questions without the words of the protocol, for the detection of contamination."""
        for _, item in self._items(PromptCounts()):
            yield item.text

    def questions(self, counts: PromptCounts) -> Iterator[Question]:
        """Yield the questions; count all rows in ``counts``.

        Raise UserError if a file cannot be read to its end, or if no row is usable.
        """
        ids, keys = set[str](), set[str]()
        for where, item in self._items(counts):
            normalized = _normalized(item)
            prompt_id = self._identifier(normalized)
            if item.key in keys or (prompt_id in ids and self.opened.drops_duplicates):
                counts.duplicates += 1
                continue
            if prompt_id in ids:
                prompt_id = self._another(normalized, item.key, ids)
            try:
                question = self._question(prompt_id, item)
            except BadRowError as error:
                counts.count_bad(where, error)
                continue
            ids.add(prompt_id)
            if item.key is not None:
                keys.add(item.key)
            yield question
        if not ids:
            raise UserError(f"{self.where}: no usable row among {counts.rows}; {self._why_none(counts)}")

    def _items(self, counts: PromptCounts) -> Iterator[tuple[str, Item]]:
        try:
            for where, raw in self.opened.rows():
                counts.rows += 1
                try:
                    item = self._read(raw)
                except BadRowError as error:
                    counts.count_bad(where, error)
                    continue
                if item is not None:
                    yield where, item
        except UserError as error:
            raise UserError(f"{self.where}: {error}") from error

    def _read(self, raw: RawRow | BadRowError) -> Item | None:
        if isinstance(raw, BadRowError):
            raise raw
        try:
            item = self.opened.read(raw)
            if item is not None:
                item.check()
        except RecursionError as error:
            raise BadRowError("a value that is nested too deeply") from error
        except UnicodeEncodeError as error:
            raise BadRowError("a text that is not Unicode: invalid UTF-8, or a lone surrogate") from error
        return item

    def _identifier(self, text: str) -> str:
        # That of releases up to 0.2.0, which had no options.
        return hash_text(f"{self.dataset.name}\0{text}")[:16]

    def _another(self, normalized: str, key: str | None, ids: set[str]) -> str:
        """Return the identifier of a question whose text an earlier one has: by its key, or by a number."""
        number = 2
        while (prompt_id := self._identifier(f"{normalized}\0{key or number}")) in ids:
            key, number = None, number + 1
        return prompt_id

    def _question(self, prompt_id: str, item: Item) -> Question:
        protocol = self.dataset.protocol
        form = protocol.form if protocol else PromptForm()
        return Question(
            prompt_id=prompt_id,
            dataset=self.dataset.name,
            task=item.grader or (protocol.grader if protocol else self.dataset.task),
            prompt=user_message(form, item),
            answer=item.answer,
            tests=item.tests,
            entry_point=item.entry_point,
            preamble=item.preamble,
            system=form.system,
            prefill=form.prefill,
            later_turns=item.later_turns,
            options=item.options,
            group=item.group,
            temperature=protocol.temperatures.get(item.category or "") if protocol else None,
            references=item.references,
            data=item.data_json(),
        )

    def _why_none(self, counts: PromptCounts) -> str:
        if counts.first_bad or not counts.rows:
            return counts.first_bad or "the files have no rows"
        window = self.dataset.protocol
        if window and (window.window_start or window.window_end):
            return f"none is from {window.window_start} to {window.window_end} (window)"
        return "none belongs to the release of the protocol"


def open_benchmark(dataset: DatasetParameters) -> BenchmarkReader:
    """Find and check the files of a benchmark; raise UserError if one is missing or lacks a column."""
    where = f"benchmarks[{dataset.name}]"
    source = Source(dataset_path(dataset, where), where, dataset.split)
    layout = dataset.protocol.layout if dataset.protocol else Layout.TABLE
    try:
        opened = OPENERS[layout](source, dataset)
    except UserError as error:
        raise error if str(error).startswith(where) else UserError(f"{where}: {error}") from error
    return BenchmarkReader(dataset, opened, where)


def _normalized(item: Item) -> str:
    """Return the question with normalised white space, and its options: a question may be asked with other ones."""
    return "\0".join(" ".join(text.split()) for text in (item.text, *(item.options or ())))
