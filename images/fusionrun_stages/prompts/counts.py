"""Counts of the rows and prompts of one data set in ``prepare``."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from fusionrun.api.data import Subject
from fusionrun.api.values import Prepared


@dataclass
class PromptCounts:
    """Counts of one data set's rows, for the manifest of ``prepare``. It has all fields of ``Prepared``."""

    rows: int = 0
    prompts: int = 0
    duplicates: int = 0
    near_duplicates: int = 0
    code: int = 0
    mathematics: int = 0
    contaminated: int = 0
    over_limit: int = 0
    bad: Counter[str] = field(default_factory=Counter)
    """Unusable rows by reason."""
    first_bad: str = ""
    near_examples: list[str] = field(default_factory=list)
    """First characters of some near-duplicates."""

    @property
    def bad_rows(self) -> int:
        """Number of unusable rows."""
        return self.bad.total()

    def count_subject(self, subject: Subject) -> None:
        """Count a prompt that is dropped because of its subject."""
        if subject is Subject.CODE:
            self.code += 1
        else:
            self.mathematics += 1

    def as_json(self) -> dict[str, Any]:
        """Return all counts as plain data."""
        return vars(self) | {"bad": dict(self.bad), "bad_rows": self.bad_rows}


def total(counts: Iterable[PromptCounts]) -> Prepared:
    """Sum the counts of the data sets."""
    sums: Counter[str] = Counter()
    for dataset in counts:
        sums.update({name: getattr(dataset, name) for name in Prepared.model_fields if name != "kind"})
    return Prepared.model_validate(sums)
