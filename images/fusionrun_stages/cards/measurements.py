"""Sections of the data set's card about its responses: rewards, margins, lengths and outcomes."""

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from fusionrun.api.records import MICRO
from fusionrun_stages.cards import plots
from fusionrun_stages.cards.facts import Facts, Section, number, percent, reward_model_of, score
from fusionrun_stages.cards.templates import section_text

MODULES_SHOWN = 20


def measurements(facts: Facts) -> Iterator[Section]:
    """Yield the sections about the responses."""
    for build in (_rewards, _margins, _lengths, _responses, _missing_modules):
        yield from build(facts)


def _rewards(facts: Facts) -> Iterator[Section]:
    sources = facts.summary.get("sources", {})
    rewards = {name: counts["rewards"] for name, counts in sources.items() if counts["scored"]}
    if not rewards:
        return
    table = [(name, number(sum(h["counts"])), score(_mean(h))) for name, h in rewards.items()]
    yield Section(
        "Rewards",
        section_text("rewards", reward_model=reward_model_of(facts.spec.reward_model)),
        ("source", "responses scored", "mean reward"),
        table,
        plots.histograms("Reward by source", "; ".join(f"{n}: mean {m} of {c}" for n, c, m in table),
                         _panels(rewards), "reward", octaves=False),
    )  # fmt: skip


def _margins(facts: Facts) -> Iterator[Section]:
    margins: Mapping[str, Mapping[str, Any]] = facts.summary.get("margins", {})
    window = facts.spec.construction.reward_margin
    if not margins or window is None:
        return
    table = [(task, number(sum(h["counts"])), score(_mean(h))) for task, h in margins.items()]
    yield Section(
        "Margins",
        section_text("margins", window=window),
        ("task", "pairs", "mean margin"),
        table,
        plots.histograms("Margin by task", "; ".join(f"{t}: mean {m} of {c} pairs" for t, c, m in table),
                         _panels(margins), "margin", octaves=False),
    )  # fmt: skip


def _lengths(facts: Facts) -> Iterator[Section]:
    lengths = {side: h for side, h in facts.summary.get("lengths", {}).items() if h["counts"]}
    if not lengths:
        return
    longer: Mapping[str, int] = facts.summary["longer"]
    pairs = sum(longer.values())
    table = [(s, number(sum(h["counts"])), f"{_mean(h, 1):,.1f}", number(h["longest"])) for s, h in lengths.items()]
    yield Section(
        "Lengths",
        section_text("lengths", chosen_longer=percent(longer["chosen"] / pairs) if pairs else ""),
        ("side", "texts", "mean", "longest"),
        table,
        plots.histograms(
            "Length of the responses",
            "; ".join(f"{row[0]}: mean {row[2]} characters, longest {row[3]}" for row in table),
            {side: (h["edges"], h["counts"]) for side, h in lengths.items()},
            "characters",
            octaves=True,
        ),
    )


def _responses(facts: Facts) -> Iterator[Section]:
    sources = {name: counts for name, counts in facts.summary.get("sources", {}).items() if counts["responses"]}
    if not sources:
        return
    shares = {
        name: {
            "finished": 1 - (counts["truncated"] + counts["failed"]) / counts["responses"],
            "truncated": counts["truncated"] / counts["responses"],
            "failed or blank": counts["failed"] / counts["responses"],
        }
        for name, counts in sources.items()
    }
    yield Section(
        "Responses",
        section_text("responses"),
        ("source", "responses", "truncated", "failed or blank", "right", "wrong"),
        [
            (name, number(counts["responses"]), percent(shares[name]["truncated"]),
             percent(shares[name]["failed or blank"]), number(counts["right"]), number(counts["wrong"]))
            for name, counts in sources.items()
        ],
        plots.bars(
            "Outcomes of the responses",
            "; ".join(f"{name}: {percent(s['truncated'])} truncated, {percent(s['failed or blank'])} failed or blank"
                      for name, s in shares.items()),
            shares, "fraction of the responses", percent=True,
        ),
    )  # fmt: skip


def _missing_modules(facts: Facts) -> Iterator[Section]:
    missing: Mapping[str, Mapping[str, int]] = facts.summary.get("missing_modules", {})
    totals: Counter[str] = sum((Counter(counts) for counts in missing.values()), Counter())
    if not totals:
        return
    yield Section(
        "Missing modules",
        section_text("missing_modules"),
        ("module", *missing),
        [(name, *(number(missing[s].get(name, 0)) for s in missing)) for name, _ in totals.most_common(MODULES_SHOWN)],
    )


def _panels(histograms: Mapping[str, Mapping[str, Any]]) -> dict[str, tuple[list[float], list[int]]]:
    """Return edges and counts by label; the histograms' values are in millionths."""
    return {
        label: ([(h["least"] + i * h["width"]) / MICRO for i in range(len(h["counts"]) + 1)], h["counts"])
        for label, h in histograms.items()
        if h["counts"]
    }


def _mean(histogram: Mapping[str, Any], scale: float = MICRO) -> float | None:
    return None if histogram["mean"] is None else histogram["mean"] / scale
