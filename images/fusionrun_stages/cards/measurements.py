"""Sections of the data set's card about its responses: rewards, margins, lengths and outcomes."""

from collections.abc import Iterator, Mapping
from typing import Any

from fusionrun.api.records import MICRO
from fusionrun_stages.cards import plots
from fusionrun_stages.cards.facts import Facts, Section, number, percent, score
from fusionrun_stages.cards.templates import section_text


def measurements(facts: Facts) -> Iterator[Section]:
    """Yield the sections about the responses."""
    for build in (_rewards, _margins, _lengths, _responses):
        yield from build(facts)


def _rewards(facts: Facts) -> Iterator[Section]:
    found = {name: one["rewards"] for name, one in facts.summary.get("sources", {}).items() if one["scored"]}
    if not found:
        return
    table = [(name, number(sum(one["counts"])), score(_mean(one))) for name, one in found.items()]
    yield Section(
        "Rewards",
        section_text("rewards", reward_model=facts.spec.reward_model.place),
        ("source", "responses scored", "mean reward"),
        table,
        plots.histograms("Reward by source", "; ".join(f"{n}: mean {m} of {c}" for n, c, m in table),
                         _panels(found), "reward", octaves=False),
    )  # fmt: skip


def _margins(facts: Facts) -> Iterator[Section]:
    found: Mapping[str, Mapping[str, Any]] = facts.summary.get("margins", {})
    window = facts.spec.construction.reward_margin
    if not found or window is None:
        return
    table = [(task, number(sum(one["counts"])), score(_mean(one))) for task, one in found.items()]
    yield Section(
        "Margins",
        section_text("margins", window=window),
        ("task", "pairs", "mean margin"),
        table,
        plots.histograms("Margin by task", "; ".join(f"{t}: mean {m} of {c} pairs" for t, c, m in table),
                         _panels(found), "margin", octaves=False),
    )  # fmt: skip


def _lengths(facts: Facts) -> Iterator[Section]:
    found = {side: one for side, one in facts.summary.get("lengths", {}).items() if one["counts"]}
    if not found:
        return
    longer: Mapping[str, int] = facts.summary["longer"]
    pairs = sum(longer.values())
    table = [
        (s, number(sum(one["counts"])), f"{_mean(one, 1):,.1f}", number(one["longest"])) for s, one in found.items()
    ]
    yield Section(
        "Lengths",
        section_text("lengths", chosen_longer=percent(longer["chosen"] / pairs) if pairs else ""),
        ("side", "texts", "mean", "longest"),
        table,
        plots.histograms(
            "Length of the responses",
            "; ".join(f"{row[0]}: mean {row[2]} characters, longest {row[3]}" for row in table),
            {side: (one["edges"], one["counts"]) for side, one in found.items()},
            "characters",
            octaves=True,
        ),
    )


def _responses(facts: Facts) -> Iterator[Section]:
    found = {name: one for name, one in facts.summary.get("sources", {}).items() if one["responses"]}
    if not found:
        return
    shares = {
        name: {
            "finished": 1 - (one["truncated"] + one["failed"]) / one["responses"],
            "truncated": one["truncated"] / one["responses"],
            "failed or blank": one["failed"] / one["responses"],
        }
        for name, one in found.items()
    }
    yield Section(
        "Responses",
        section_text("responses"),
        ("source", "responses", "truncated", "failed or blank", "right", "wrong"),
        [
            (name, number(one["responses"]), percent(shares[name]["truncated"]),
             percent(shares[name]["failed or blank"]), number(one["right"]), number(one["wrong"]))
            for name, one in found.items()
        ],
        plots.bars(
            "Outcomes of the responses",
            "; ".join(f"{name}: {percent(s['truncated'])} truncated, {percent(s['failed or blank'])} failed or blank"
                      for name, s in shares.items()),
            shares, "fraction of the responses", percent=True,
        ),
    )  # fmt: skip


def _panels(found: Mapping[str, Mapping[str, Any]]) -> dict[str, tuple[list[float], list[int]]]:
    """Turn histograms of millionths into edges and counts."""
    return {
        label: ([(one["least"] + i * one["width"]) / MICRO for i in range(len(one["counts"]) + 1)], one["counts"])
        for label, one in found.items()
        if one["counts"]
    }


def _mean(one: Mapping[str, Any], scale: float = MICRO) -> float | None:
    return None if one["mean"] is None else one["mean"] / scale
