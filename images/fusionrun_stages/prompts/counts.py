"""Counts of the rows and prompts of one data set in ``prepare``."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from fusionrun.api.records import replace_surrogates
from fusionrun.api.results.values import Prepared
from fusionrun.api.spec.data import Subject
from fusionrun_stages.prompts.bad_rows import BadRowError

EXAMPLES = 20


@dataclass
class PromptCounts:
    """Counts of one data set's rows, for the manifest of ``prepare``. It has all counts of ``Prepared``."""

    rows: int = 0
    prompts: int = 0
    duplicates: int = 0
    near_duplicates: int = 0
    code: int = 0
    mathematics: int = 0
    contaminated: int = 0
    over_limit: int = 0
    no_tests: int = 0
    """Rows whose prompt has no tests, although the data set has its tests in the prompts."""
    responses_over_limit: int = 0
    """Responses of the data set that are equal to another, or over ``maxResponsesPerPrompt``."""
    bad: Counter[str] = field(default_factory=Counter)
    """Unusable rows by reason."""
    bad_examples: list[str] = field(default_factory=list)
    """The first unusable rows: file, line and reason."""
    no_response: Counter[str] = field(default_factory=Counter)
    """Usable rows without the response of a source, by source and reason."""
    no_response_examples: list[str] = field(default_factory=list)
    near_examples: list[str] = field(default_factory=list)
    """First characters of some near-duplicates."""

    @property
    def first_bad(self) -> str:
        """The first unusable row; empty if there is none."""
        return self.bad_examples[0] if self.bad_examples else ""

    @property
    def bad_rows(self) -> int:
        """Number of unusable rows."""
        return self.bad.total()

    def count_bad(self, where: str, error: BadRowError) -> None:
        """Count an unusable row, and keep the first ones as examples."""
        self.bad[error.reason] += 1
        _keep(self.bad_examples, f"{where}: {error}")

    def count_no_response(self, where: str, source: str, error: BadRowError) -> None:
        """Count a row without a source's response, and keep the first ones as examples."""
        self.no_response[f"{source}: {error.reason}"] += 1
        _keep(self.no_response_examples, f"{where}: {source}: {error}")

    def count_subject(self, subject: Subject) -> None:
        """Count a prompt that is dropped because of its subject."""
        if subject is Subject.CODE:
            self.code += 1
        else:
            self.mathematics += 1

    def as_json(self) -> dict[str, Any]:
        """Return all counts as plain data."""
        counters = {"bad": dict(self.bad), "no_response": dict(self.no_response)}
        return vars(self) | counters | {"bad_rows": self.bad_rows, "first_bad": self.first_bad}


def _keep(examples: list[str], example: str) -> None:
    if len(examples) < EXAMPLES:
        examples.append(replace_surrogates(example))  # the name of a file or of a role may be invalid Unicode


def total(counts: Mapping[str, PromptCounts]) -> Prepared:
    """Sum the counts of the data sets, by their names."""
    fields = Prepared.model_fields.keys() - {"kind", "by_dataset"}
    sums = {field: sum(getattr(one, field) for one in counts.values()) for field in fields}
    return Prepared(**sums, by_dataset={name: one.prompts for name, one in counts.items()})
