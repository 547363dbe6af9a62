"""Statistics of the responses and rows for the data set's card, in bounded memory.

Each slice's candidates and each range of rows are added once, while ``construct`` has them in memory, and only counts
are kept. All of them are integers until the last division: the same data give the same bytes.
"""

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import polars as pl

from fusionrun.api.artifacts import CONTAMINATION_FILE
from fusionrun.api.records import MICRO
from fusionrun.api.spec.data import Task
from fusionrun_stages.construction.histogram import Histogram, Lengths, share_bins
from fusionrun_stages.volume.atomic import read_json

EXAMPLES = 20
EXAMPLE_CHARACTERS = 240
MODULES_MAX = 1000
"""Names of missing modules that are counted: programs may invent any number of them."""

OUTCOMES = ("responses", "failed", "truncated", "right", "wrong", "scored")


@dataclass
class Summary:
    """Counts and histograms of one construction."""

    sources: Sequence[str]
    """Names; ``source`` of a candidate is the index."""
    outcomes: Counter[tuple[int, str, str]] = field(default_factory=Counter)
    """Responses by source, data set and outcome (``OUTCOMES``)."""
    missing: Counter[tuple[int, str]] = field(default_factory=Counter)
    """Unknown verdicts by source and the module that the sandbox's image does not have."""
    contested: Counter[int] = field(default_factory=Counter)
    """Contested prompts by source (``win_rates``)."""
    wins: Counter[tuple[int, int]] = field(default_factory=Counter)
    """Prompts won, by source and number of winners (several if the best scores are equal)."""
    rewards: dict[int, Histogram] = field(default_factory=lambda: defaultdict(Histogram))
    """Scores of the finished responses by source, in millionths."""
    margins: dict[str, Histogram] = field(default_factory=lambda: defaultdict(Histogram))
    """Difference of the chosen and the rejected score by task, in millionths."""
    lengths: dict[str, Lengths] = field(default_factory=lambda: defaultdict(Lengths))
    """By side: ``sft``, ``chosen``, ``rejected``."""
    rows: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    """By data set, kind of row and source."""
    chosen_longer: Counter[str] = field(default_factory=Counter)
    """Pairs by the longer side: ``chosen``, ``rejected`` or ``equal``."""

    def add_candidates(self, candidates: pl.DataFrame) -> None:
        """Add the candidates (``rules``) of a slice."""
        finished = pl.col("finished")
        counted = candidates.group_by("source", "dataset").agg(
            responses=pl.len(),
            failed=(~pl.col("answered")).sum(),
            truncated=(pl.col("answered") & ~finished).sum(),
            right=(finished & pl.col("right")).sum(),
            wrong=(finished & pl.col("wrong")).sum(),
            scored=(finished & pl.col("score").is_not_null()).sum(),
        )
        for row in counted.iter_rows(named=True):
            for outcome in OUTCOMES:
                self.outcomes[row["source"], row["dataset"], outcome] += row[outcome]
        missing = candidates.filter(pl.col("missing").is_not_null()).group_by("source", "missing").len()
        for source, module, count in missing.sort("source", "missing").iter_rows():
            known = (source, module) in self.missing or len(self.missing) < MODULES_MAX
            self.missing[source, module if known else "others"] += count
        scored = candidates.lazy().filter(finished, pl.col("score").is_not_null())
        for (source,), part in scored.select("source", "score").collect().partition_by("source", as_dict=True).items():
            self.rewards[source].add(part["score"])
        self._add_contests(candidates, scored)

    def _add_contests(self, candidates: pl.DataFrame, scored: pl.LazyFrame) -> None:
        judged = [str(Task.MATHEMATICS), str(Task.CODING)]
        usable = scored.filter(
            (pl.col("task") == str(Task.INSTRUCTION)) | (pl.col("task").is_in(judged) & pl.col("right"))
        )
        best = usable.group_by("prompt", "source").agg(pl.col("score").max()).collect()
        entered = candidates.filter("answered").select("prompt", "source").unique()
        rivals = entered.group_by("prompt").len().filter(pl.col("len") > 1).select("prompt")
        contests = best.select("prompt").unique().join(rivals, on="prompt", how="semi")
        for source, count in entered.join(contests, on="prompt", how="semi")["source"].value_counts().iter_rows():
            self.contested[source] += count
        winners = best.join(contests, on="prompt", how="semi").filter(
            pl.col("score") == pl.col("score").max().over("prompt")
        )
        shared = winners.with_columns(winners=pl.len().over("prompt")).group_by("source", "winners").len()
        for source, among, count in shared.iter_rows():
            self.wins[source, among] += count

    def add_rows(self, rows: pl.DataFrame) -> None:
        """Add a range of rows with their texts (``rows.gather_texts``)."""
        for dataset, kind, source, count in rows.group_by("dataset", "kind", "source").len().iter_rows():
            self.rows[dataset, kind, source] += count
        pair = pl.col("second").is_not_null()
        self.lengths["sft"].add(rows.filter(~pair)["first_text"])
        pairs = rows.filter(pair)
        self.lengths["chosen"].add(pairs["first_text"])
        self.lengths["rejected"].add(pairs["second_text"])
        first, second = pl.col("first_text").str.len_chars(), pl.col("second_text").str.len_chars()
        longer = pl.when(first > second).then(pl.lit("chosen")).when(first < second).then(pl.lit("rejected"))
        longer = longer.otherwise(pl.lit("equal"))
        for side, count in pairs.select(side=longer)["side"].value_counts().iter_rows():
            self.chosen_longer[side] += count
        gaps = pairs.select("task", gap=pl.col("chosen_score_micro") - pl.col("rejected_score_micro"))
        for (task,), part in gaps.partition_by("task", as_dict=True).items():
            self.margins[task].add(part["gap"])

    def win_rates(self) -> dict[str, float]:
        """Return the share of contested prompts that each source won; a tie of k sources counts 1/k for each.

        A prompt is contested if at least two sources answered it and at least one response is usable (scored, and
        right if the task has verdicts). A source that answered without a usable response has lost. This definition is
        FusionRun's.
        """
        rates = {}
        for number, name in enumerate(self.sources):
            if self.contested[number]:
                won = sum(self.wins[key] / key[1] for key in sorted(self.wins) if key[0] == number)
                rates[name] = won / self.contested[number]
        return rates

    def numbers(self) -> dict[str, float]:
        """Return the numbers that go to the run's status."""
        totals = Counter[str]()
        for (_, _, outcome), count in self.outcomes.items():
            totals[outcome] += count
        margins = [h for task, h in sorted(self.margins.items()) if task != str(Task.CODING)]
        pairs = sum(h.count for h in margins)
        numbers = {}
        if totals["responses"]:
            numbers["truncated_share"] = round(totals["truncated"] / totals["responses"], 6)
        if pairs:
            numbers["mean_margin"] = round(sum(h.total for h in margins) / pairs / MICRO, 6)
        return numbers

    def document(self) -> dict[str, Any]:
        """Return the content of ``summary.json``."""
        share_bins(list(self.rewards.values()))
        share_bins([h for task, h in self.margins.items() if task != str(Task.CODING)])
        rates = self.win_rates()
        by_source = {}
        for number, name in enumerate(self.sources):
            by_source[name] = {
                **{o: sum(c for (n, _, out), c in self.outcomes.items() if (n, out) == (number, o)) for o in OUTCOMES},
                "contested": self.contested[number],
                "win_rate": rates.get(name),
                "rewards": self.rewards[number].document(),
            }
        return {
            "sources": by_source,
            "outcomes": _nested((self.sources[n], d, o, c) for (n, d, o), c in sorted(self.outcomes.items())),
            "missing_modules": {
                self.sources[number]: {module: n for (s, module), n in self.missing.most_common() if s == number}
                for number in sorted({s for s, _ in self.missing})
            },
            "rows": _nested((d, k, s, c) for (d, k, s), c in sorted(self.rows.items())),
            "margins": {task: h.document() for task, h in sorted(self.margins.items())},
            "lengths": {side: h.document() for side, h in sorted(self.lengths.items())},
            "longer": {side: self.chosen_longer[side] for side in ("chosen", "rejected", "equal")},
            **self.numbers(),
        }


def _nested(rows: Any) -> dict[str, dict[str, dict[str, int]]]:
    tree: dict[str, dict[str, dict[str, int]]] = {}
    for first, second, third, count in rows:
        tree.setdefault(first, {}).setdefault(second, {})[third] = count
    return tree


def prepared(artifact: Path, details: dict[str, Any]) -> dict[str, Any]:
    """Return the counts of ``prepare`` by data set, and examples of contamination if there are any.

    ``details`` are those of the artifact's manifest.
    """
    by_dataset = {
        name: {key: count for key, count in sorted(counts.items()) if isinstance(count, int)}
        for name, counts in sorted(details.get("datasets", {}).items())
    }
    file = artifact / CONTAMINATION_FILE
    if not file.is_file():
        return {"datasets": by_dataset}
    rows = [row for benchmark in read_json(file)["benchmarks"].values() for row in benchmark["examples"]]
    keys = ("prompt", "benchmark", "shared")
    examples = [{key: row[key][:EXAMPLE_CHARACTERS] for key in keys} for row in rows[:EXAMPLES]]
    return {"datasets": by_dataset, "contamination": examples}
