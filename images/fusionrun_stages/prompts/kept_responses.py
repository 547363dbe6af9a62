"""Limit the responses that a data set has to one prompt (``maxResponsesPerPrompt``).

The responses with the lowest seeded hashes are kept, so neither the order of rows nor that of files changes the choice.
Equal responses count once: each is scored once, and a pair of two needs different texts.
"""

import hashlib
from bisect import insort
from collections.abc import Iterable
from dataclasses import dataclass, field

from fusionrun.api.tasks.parameters import DatasetParameters
from fusionrun_stages.prompts.dataset_rows import DatasetRow, PromptKey


@dataclass
class KeptResponses:
    """The responses to keep. Call ``add`` once for every data set with a limit, then ``take`` for every response.

    Memory holds 64-bit hashes: at most the limit for each prompt and source.
    """

    seed: int
    _chosen: dict[tuple[str, PromptKey, str], list[int]] = field(default_factory=dict)
    """The lowest hashes, ascending, by data set, prompt and source."""

    def add(self, dataset: DatasetParameters, rows: Iterable[DatasetRow]) -> None:
        """Choose among the responses in the rows of a data set."""
        limit = dataset.max_responses_per_prompt
        if limit is None:
            return
        for row in rows:
            for source, text in row.responses.items():
                chosen = self._chosen.setdefault((dataset.name, row.key, source), [])
                value = self._hash(row.key, source, text)
                if value not in chosen and (len(chosen) < limit or value < chosen[-1]):
                    insort(chosen, value)
                    del chosen[limit:]

    def take(self, dataset: DatasetParameters, row: DatasetRow, source: str) -> bool:
        """Return whether the response of a source in a row is kept: only the first of equal ones is."""
        if dataset.max_responses_per_prompt is None:
            return True
        chosen = self._chosen.get((dataset.name, row.key, source), [])
        value = self._hash(row.key, source, row.responses[source])
        if value not in chosen:
            return False
        chosen.remove(value)
        return True

    def _hash(self, key: PromptKey, source: str, text: str) -> int:
        digest = hashlib.sha256(f"{self.seed}\0{key}\0{source}\0{text}".encode()).digest()
        return int.from_bytes(digest[:8])
