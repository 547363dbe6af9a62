"""Select the prompts of the data sets: without duplicates, excluded subjects and benchmark prompts, within limits.

Memory holds hashes of the prompts. A prompt belongs to the first data set that has it and does not exclude it.
"""

import hashlib
import heapq
from collections.abc import Callable
from dataclasses import dataclass, field

from fusionrun.api.tasks.parameters import DatasetParameters
from fusionrun_stages.errors import UserError
from fusionrun_stages.prompts.contamination import BenchmarkIndex, ContaminatedPrompt, ContaminationReport, Match
from fusionrun_stages.prompts.counts import PromptCounts
from fusionrun_stages.prompts.dataset_rows import DatasetReader, DatasetRow, PromptKey
from fusionrun_stages.prompts.near_duplicates import NearDuplicates
from fusionrun_stages.prompts.subjects import subject_of

NEAR_EXAMPLES = 20
EXAMPLE_CHARACTERS = 240
REPORT_ROWS = 5000


@dataclass
class PromptSelection:
    """Selects prompts. Call ``add`` for each data set in order, then ``finish``."""

    reader: DatasetReader
    index: BenchmarkIndex
    seed: int
    report: Callable[[int], None]
    """Called every ``REPORT_ROWS`` rows of a data set."""
    kept: set[PromptKey] = field(default_factory=set)
    """The result."""
    owner: dict[PromptKey, str] = field(default_factory=dict)
    """Name of the data set that each prompt belongs to."""
    counts: dict[str, PromptCounts] = field(default_factory=dict)
    """By data set."""
    contamination: ContaminationReport = field(default_factory=ContaminationReport)
    _usable: list[tuple[DatasetParameters, set[PromptKey]]] = field(default_factory=list)
    _matches: dict[PromptKey, tuple[Match, str, str]] = field(default_factory=dict)
    """The match with benchmarks, the prompt's identifier, and its first characters."""
    _near: dict[tuple[str, float], NearDuplicates] = field(default_factory=dict)
    """By task and threshold."""

    def add(self, dataset: DatasetParameters) -> None:
        """Find the prompts that belong to a data set.

        A prompt that is excluded by its subject or as a near-duplicate may belong to a later data set.

        Raise UserError if the data set has no usable row.
        """
        counts = self.counts[dataset.name] = PromptCounts()
        usable: set[PromptKey] = set()
        excluded: set[PromptKey] = set()
        for row in self.reader.rows(dataset, counts):
            if counts.rows % REPORT_ROWS == 0:
                self.report(counts.rows)
            if row.key in self.owner or row.key in excluded:
                # A row with a response to a known prompt is not a duplicate: its response is kept.
                counts.duplicates += not row.responses
            elif self._is_excluded(dataset, row, counts):
                excluded.add(row.key)
            else:
                self.owner[row.key] = dataset.name
                usable.add(row.key)
                match = self.index.match(row.turns)
                if match is not None:
                    self._matches[row.key] = match, row.prompt_id(dataset), row.text[:EXAMPLE_CHARACTERS]
        if counts.rows == counts.bad_rows + counts.no_tests:
            why = counts.first_bad or f"{counts.no_tests} prompts have no tests (testsFrom: {dataset.tests_from})"
            raise UserError(f"datasets[{dataset.name}]: no usable row among {counts.rows}; {why}")
        self._usable.append((dataset, usable))

    def finish(self) -> None:
        """Drop contaminated prompts and those over ``maxPrompts``. Call it when all n-grams are counted."""
        for dataset, usable in self._usable:
            counts = self.counts[dataset.name]
            kept = clean = usable - self._contaminated(dataset, usable)
            if dataset.max_prompts is not None:
                kept = set(heapq.nsmallest(dataset.max_prompts, clean, key=self._rank))
            counts.over_limit = len(clean) - len(kept)
            counts.prompts = len(kept)
            self.kept |= kept

    def _is_excluded(self, dataset: DatasetParameters, row: DatasetRow, counts: PromptCounts) -> bool:
        subject = subject_of(row.whole_text, row.category) if dataset.excluded_subjects else None
        if subject in dataset.excluded_subjects:
            counts.count_subject(subject)
            return True
        threshold = dataset.near_duplicate_threshold
        if not threshold:
            return False
        near = self._near.get((dataset.task, threshold))
        if near is None:
            near = self._near[dataset.task, threshold] = NearDuplicates(threshold, self.seed)
        if not near.is_near_duplicate(row.whole_text):
            return False
        counts.near_duplicates += 1
        if len(counts.near_examples) < NEAR_EXAMPLES:
            counts.near_examples.append(row.text[:EXAMPLE_CHARACTERS])
        return True

    def _contaminated(self, dataset: DatasetParameters, usable: set[PromptKey]) -> set[PromptKey]:
        contaminated: set[PromptKey] = set()
        for key, (match, prompt_id, text) in self._matches.items():
            overlap = self.index.find_overlap(match) if key in usable else None
            if overlap is None:
                continue
            contaminated.add(key)
            benchmark, words = overlap
            dropped = ContaminatedPrompt(prompt_id, dataset.name, benchmark, text, words[:EXAMPLE_CHARACTERS])
            self.contamination.add(dropped)
        self.counts[dataset.name].contaminated = len(contaminated)
        return contaminated

    def _rank(self, key: PromptKey) -> bytes:
        """Return a prompt's sort key in a seeded random order."""
        return hashlib.sha256(f"{self.seed}\0{key}".encode()).digest()
