"""Counts of the rows of one side by data set, and what the two sides share.

Memory holds hashes and lengths: about 200 bytes per prompt, and no text.
"""

from array import array
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from fusionrun_stages.compare_published.examples import Example, Kind, hash_of
from fusionrun_stages.prompts.bad_rows import BadRowError

QUANTILES = (0.05, 0.5, 0.95, 1.0)
"""Quantiles of the lengths; the last is the longest."""


@dataclass(slots=True)
class PromptUse:
    """The rows of one prompt."""

    turns: int
    sft_rows: int = 0
    pairs: int = 0
    sft_model: str = ""
    sft_answer: int = 0
    """Hash of the response in its SFT row."""
    pair_model: str = ""
    """Source of its first pair."""


@dataclass
class SetCounts:
    """Counts of one data set."""

    prompts: dict[int, PromptUse] = field(default_factory=dict)
    """By the hash of the prompt."""
    models: dict[Kind, Counter[str]] = field(default_factory=lambda: {kind: Counter() for kind in Kind})
    """Rows by the model of their source."""
    lengths: dict[str, "array[int]"] = field(default_factory=lambda: defaultdict(lambda: array("I")))
    """Characters of each text, by ``prompt``, ``sft``, ``chosen`` and ``rejected``."""
    with_marks: int = 0
    """Rows with HelpSteer2's marks in a message."""
    with_system: int = 0
    """Rows with a system prompt."""
    equal_sides: int = 0
    """Pairs whose two responses are the same text."""
    chosen_is_sft: int = 0
    """Pairs whose chosen response is the response in the prompt's SFT row."""

    def add(self, example: Example) -> None:
        """Count a row. SFT rows come first."""
        use = self.prompts.setdefault(example.prompt, PromptUse(example.turns))
        self.models[example.kind][example.model] += 1
        self.with_marks += example.has_marks
        self.with_system += example.has_system
        self.lengths["prompt"].append(example.prompt_characters)
        if example.kind is Kind.SFT:
            use.sft_rows += 1
            use.sft_model, use.sft_answer = example.model, hash_of(example.answers[0])
            self.lengths["sft"].append(len(example.answers[0]))
            return
        chosen, rejected = example.answers
        self.chosen_is_sft += bool(use.sft_rows) and use.sft_answer == hash_of(chosen)
        self.equal_sides += chosen == rejected
        use.pairs += 1
        use.pair_model = use.pair_model or example.model
        self.lengths["chosen"].append(len(chosen))
        self.lengths["rejected"].append(len(rejected))

    def document(self) -> dict[str, Any]:
        """Return the counts as plain data."""
        uses = self.prompts.values()
        both = [use for use in uses if use.sft_rows and use.pairs]
        return {
            "sft_rows": self.models[Kind.SFT].total(),
            "pairs": self.models[Kind.PAIR].total(),
            "prompts": len(uses),
            "prompts_of_several_turns": sum(use.turns > 1 for use in uses),
            "prompts_in_sft_and_dpo": len(both),
            "of_these_with_one_source": sum(use.sft_model == use.pair_model for use in both),
            "pairs_whose_chosen_is_the_sft_response": self.chosen_is_sft,
            "prompts_by_sft_rows": _ordered(Counter(use.sft_rows for use in uses if use.sft_rows)),
            "prompts_by_pairs": _ordered(Counter(use.pairs for use in uses if use.pairs)),
            "pairs_with_equal_sides": self.equal_sides,
            "rows_with_marks_in_a_message": self.with_marks,
            "rows_with_system_prompt": self.with_system,
            "sft_rows_by_source_model": dict(self.models[Kind.SFT].most_common()),
            "pairs_by_source_model": dict(self.models[Kind.PAIR].most_common()),
            "characters": {name: quantiles(lengths) for name, lengths in self.lengths.items()},
        }


@dataclass
class SideCounts:
    """Counts of one side: the published files, or a run."""

    by_dataset: dict[str, SetCounts] = field(default_factory=lambda: defaultdict(SetCounts))
    unusable: Counter[str] = field(default_factory=Counter)
    """Rows that cannot be read, by reason."""

    def add(self, examples: Iterable[Example | BadRowError]) -> None:
        """Count rows."""
        for example in examples:
            if isinstance(example, BadRowError):
                self.unusable[example.reason] += 1
            else:
                self.by_dataset[example.dataset].add(example)

    def document(self) -> dict[str, Any]:
        """Return the counts as plain data."""
        datasets = {name: counts.document() for name, counts in sorted(self.by_dataset.items())}
        return {"datasets": datasets, "unusable": dict(self.unusable)}


def find_overlap(run: SideCounts, published: SideCounts) -> dict[str, Any]:
    """Return, for each data set of the run, what its prompts are in the published files.

    The names of the data sets differ, so a data set is compared with the published one that shares most prompts.
    """
    found = {}
    for name, ours in sorted(run.by_dataset.items()):
        shared = {
            theirs: ours.prompts.keys() & counts.prompts.keys() for theirs, counts in published.by_dataset.items()
        }
        shared = {theirs: keys for theirs, keys in shared.items() if keys}
        most = max(sorted(shared), key=lambda theirs: len(shared[theirs]), default=None)
        found[name] = {
            "prompts": len(ours.prompts),
            "shared": {theirs: len(shared[theirs]) for theirs in sorted(shared)},
        }
        if most is not None:
            uses = [(ours.prompts[key], published.by_dataset[most].prompts[key]) for key in shared[most]]
            in_sft = [(a, b) for a, b in uses if a.sft_rows and b.sft_rows]
            found[name] |= {
                "published_as": most,
                "in_the_same_sets": sum(
                    (bool(a.sft_rows), bool(a.pairs)) == (bool(b.sft_rows), bool(b.pairs)) for a, b in uses
                ),
                "in_sft_on_both_sides": len(in_sft),
                "of_these_with_one_source": sum(a.sft_model == b.sft_model for a, b in in_sft),
            }
    return found


def quantiles(lengths: "array[int]") -> dict[str, int]:
    """Return the quantiles of lengths, by percent; the value at or below which that share of the texts is."""
    ranked = sorted(lengths)
    return {
        f"{round(share * 100)} %": ranked[max(0, -(-len(ranked) * round(share * 100) // 100) - 1)]
        for share in QUANTILES
    }


def _ordered(counts: Counter[int]) -> dict[str, int]:
    return {str(number): counts[number] for number in sorted(counts)}
