"""What the data set's card says, section by section: a text, a table, a plot. Both forms of the card show the same.

A section whose numbers are not there (an artifact of an earlier version, a run without pairs) is left out.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from fusionrun.api.models import Sampling, Source
from fusionrun.api.records import MICRO
from fusionrun.api.spec import FusionRunSpec
from fusionrun_stages.cards import licences, plots, sizes
from fusionrun_stages.cards.licences import Licence
from fusionrun_stages.construct import HELD_OUT, PAIR, PREPARED, SFT

KINDS = {SFT: "SFT rows", PAIR: "pairs", HELD_OUT: "held-out pairs"}


@dataclass(frozen=True)
class Facts:
    """What the card is made from."""

    name: str
    spec: FusionRunSpec
    """Resolved: every default filled in."""
    counts: Mapping[str, int]
    details: Mapping[str, Any]
    """Of ``construct``'s manifest."""
    summary: Mapping[str, Any]
    """``summary.json`` of ``construct``; empty where it wrote none."""
    pins: Mapping[str, str] = field(default_factory=dict)
    """Fingerprints by the field of the spec."""
    told: Mapping[str, str] = field(default_factory=dict)
    """Licences that cards on the volume tell, by ``sources[NAME]`` and ``datasets[NAME]``."""


@dataclass(frozen=True)
class Section:
    """One part of the card."""

    heading: str
    text: str = ""
    head: Sequence[str] = ()
    rows: Sequence[Sequence[str]] = ()
    plot: str = ""
    """An ``svg`` element, or nothing."""
    warnings: Sequence[str] = ()


def build_sections(facts: Facts) -> list[Section]:
    """Return the sections that there are numbers for, in the card's order."""
    return [
        section
        for build in (_licences, _files, _datasets, _sizes, _sources, _drops, _rewards, _margins, _lengths, _outcomes,
                      _contamination, _provenance, _settings)
        for section in build(facts)
    ]  # fmt: skip


def tiles(facts: Facts) -> list[tuple[str, str]]:
    """Return the few numbers that stand on top, with their labels."""
    found = [(number(facts.counts.get(key, 0)), label) for key, label in
             (("sft_rows", "SFT rows"), ("pairs", "pairs"), ("held_out_pairs", "held-out pairs"))]  # fmt: skip
    dropped = sum(count for key, count in facts.counts.items() if key.startswith("drop:"))
    found.append((number(dropped), "prompts dropped"))
    if "truncated_share" in facts.summary:
        found.append((percent(facts.summary["truncated_share"]), "of the responses cut"))
    if "mean_margin" in facts.summary:
        found.append((score(facts.summary["mean_margin"]), "mean margin"))
    return found


def number(value: int | None) -> str:
    """Write a count."""
    return "" if value is None else f"{value:,}"


def percent(value: float | None) -> str:
    """Write a share of one."""
    return "" if value is None else f"{100 * value:.1f} %"


def score(value: float | None) -> str:
    """Write a reward, or a difference of rewards."""
    return "" if value is None else f"{value:.4g}"


def model_of(source: Source) -> str:
    """Say which model a source is, with its revision."""
    if source.served is not None:
        revision = source.served.model.revision
        return source.served.model.uri + (f"@{revision}" if revision else "")
    if source.endpoint is not None:
        return f"{source.endpoint.model} at {source.endpoint.url}"
    return "responses of the data set"


def sampling_of(sampling: Sampling | None) -> str:
    """Say how a source was sampled."""
    if sampling is None:
        return ""
    values = sampling.model_dump(exclude_none=True, by_alias=False)
    return ", ".join(f"{name} {value}" for name, value in values.items())


def _address(facts: Facts, place: int) -> str:
    dataset = facts.spec.datasets[place]
    return dataset.uri or (dataset.preset.value if dataset.preset else "")


def _known_licences(facts: Facts) -> Iterator[tuple[str, Licence]]:
    for source in facts.spec.sources:
        if source.served or source.endpoint:
            name = source.served.model.uri if source.served else source.endpoint.model if source.endpoint else ""
            yield f"source {source.name}", licences.of_model(name, facts.told.get(f"sources[{source.name}]"))
    for place, dataset in enumerate(facts.spec.datasets):
        uri = _address(facts, place)
        yield f"data set {dataset.name}", licences.of_dataset(uri, facts.told.get(f"datasets[{dataset.name}]"))


def _licences(facts: Facts) -> Iterator[Section]:
    known = list(_known_licences(facts))
    yield Section(
        "Licences",
        "What the licences say about training a model on outputs, as far as FusionRun knows them by the cards of the "
        "models and data sets or by their names. It is no legal advice: read them before you train or publish.",
        ("what", "licence", "training on outputs", "what it says", "source"),
        [(what, one.name, one.outputs, one.says, one.source) for what, one in known],
        warnings=[
            f"{what}: {one.name}: training on outputs is {one.outputs}. {one.says}"
            for what, one in known
            if one.outputs in licences.WARNED
        ],
    )


def _files(facts: Facts) -> Iterator[Section]:
    counts = facts.counts
    yield Section(
        "Files",
        "Both sides of a pair always come from one source. A row holds the prompt and the answer, without any system "
        "prompt.",
        ("file", "rows", "holds"),
        [
            ("sft.parquet", number(counts.get("sft_rows", 0)), "the best response to a prompt, as messages"),
            ("pairs.parquet", number(counts.get("pairs", 0)), "prompt, chosen, rejected and both scores (millionths)"),
            ("held-out.parquet", number(counts.get("held_out_pairs", 0)),
             "pairs that training never saw, by which a checkpoint was chosen"),
        ],
    )  # fmt: skip


def _datasets(facts: Facts) -> Iterator[Section]:
    rows: Mapping[str, Mapping[str, int]] = facts.details.get("by_dataset", {})
    drops = facts.details.get("drops_by_dataset", {})
    prepared = facts.summary.get("prepared", {}).get("datasets", {})
    if not rows:
        return
    named = facts.spec.datasets
    table = []
    for one in named:
        own = rows.get(one.name, {})
        before = prepared.get(one.name, {})
        dropped = sum(drops.get(one.name, {}).values())
        table.append((one.name, one.task.value, number(before.get("prompts")),
                      *(number(own.get(kind, 0)) for kind in KINDS), number(dropped)))  # fmt: skip
    yield Section(
        "Data sets",
        "Prompts that were asked, and what they gave. A Coding prompt may give a row and a pair; any other one gives "
        "one of them or is dropped.",
        ("data set", "task", "prompts", *KINDS.values(), "dropped"),
        table,
        plots.bars(
            "Rows by data set",
            "; ".join(f"{row[0]}: {row[3]} SFT rows, {row[4]} pairs, {row[5]} held out" for row in table),
            {one.name: {label: rows.get(one.name, {}).get(kind, 0) for kind, label in KINDS.items()} for one in named},
            "rows",
        ),
    )


def _sizes(facts: Facts) -> Iterator[Section]:
    by_dataset = facts.details.get("by_dataset")
    table, warnings = sizes.compare(facts.spec.datasets, by_dataset) if by_dataset else ([], [])
    if table:
        yield Section(
            "Sizes",
            "The data sets of the recipe beside the sizes that its authors published. Held-out pairs are counted.",
            sizes.HEAD,
            table,
            warnings=warnings,
        )


def _sources(facts: Facts) -> Iterator[Section]:
    seen = facts.summary.get("sources", {})
    rates = {s.name: seen[s.name]["win_rate"] for s in facts.spec.sources if seen.get(s.name, {}).get("contested")}
    yield Section(
        "Sources",
        "The win rate is the share of the contested prompts whose best response was this source's: contested is a "
        "prompt that two sources or more answered, one of them with a response that may be learnt from. A win among "
        "k equals counts 1/k." if rates else "",
        ("source", "model", "SFT rows", "pairs", "contested prompts", "win rate"),
        [
            (s.name, model_of(s).partition("@")[0], number(facts.counts.get(f"sft:{s.name}", 0)),
             number(facts.counts.get(f"pairs:{s.name}", 0)), number(seen.get(s.name, {}).get("contested")),
             percent(rates.get(s.name)))
            for s in facts.spec.sources
        ],
        plots.bars(
            "Win rate by source",
            "; ".join(f"{name}: {percent(rate)}" for name, rate in rates.items()),
            {name: {"win rate": rate} for name, rate in rates.items()},
            "share of the contested prompts",
            percent=True,
        ) if rates else "",
    )  # fmt: skip


def _drops(facts: Facts) -> Iterator[Section]:
    drops = {key.removeprefix("drop:"): n for key, n in sorted(facts.counts.items()) if key.startswith("drop:")}
    by_dataset: dict[str, dict[str, int]] = {n: dict(d) for n, d in facts.details.get("drops_by_dataset", {}).items()}
    for name, tally in facts.summary.get("prepared", {}).get("datasets", {}).items():
        before = {str(reason): tally.get(key, 0) for reason, key in PREPARED.items()}
        by_dataset.setdefault(name, {}).update({reason: n for reason, n in before.items() if n})
    names = [d.name for d in facts.spec.datasets if d.name in by_dataset]
    yield Section(
        "Dropped prompts",
        "By the first reason that held; docs/data.md explains them.",
        ("reason", "prompts", *names),
        [(r, number(n), *(number(by_dataset[d].get(r, 0)) for d in names)) for r, n in drops.items()]
        or [("none", "0", *("0" for _ in names))],
        plots.bars("Dropped prompts by reason", "; ".join(f"{r}: {n}" for r, n in drops.items()),
                   {r: {"prompts": n} for r, n in drops.items()}, "prompts") if drops else "",
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


def _rewards(facts: Facts) -> Iterator[Section]:
    found = {name: one["rewards"] for name, one in facts.summary.get("sources", {}).items() if one["scored"]}
    if not found:
        return
    table = [(name, number(sum(one["counts"])), score(_mean(one))) for name, one in found.items()]
    yield Section(
        "Rewards",
        f"Scores that {facts.spec.reward_model.place} gave to the responses that may be used (they ended by "
        "themselves), whatever rule judged them.",
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
        f"Reward of the chosen less reward of the rejected side. It lies between {window.min} and {window.max}, both "
        "included; for Coding, where the tests decide, it is not bounded.",
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
    said = f" The chosen side is the longer one in {percent(longer['chosen'] / pairs)} of the pairs." if pairs else ""
    yield Section(
        "Lengths",
        "Length of the answers, in characters." + said,
        ("side", "texts", "mean", "longest"),
        table,
        plots.histograms(
            "Length of the answers",
            "; ".join(f"{row[0]}: mean {row[2]} characters, longest {row[3]}" for row in table),
            {side: (one["edges"], one["counts"]) for side, one in found.items()},
            "characters",
            octaves=True,
        ),
    )  # fmt: skip


def _outcomes(facts: Facts) -> Iterator[Section]:
    found = {name: one for name, one in facts.summary.get("sources", {}).items() if one["responses"]}
    if not found:
        return
    shares = {
        name: {
            "ended": 1 - (one["truncated"] + one["failed"]) / one["responses"],
            "cut by the limit": one["truncated"] / one["responses"],
            "failed or blank": one["failed"] / one["responses"],
        }
        for name, one in found.items()
    }
    yield Section(
        "Responses",
        "What became of the responses. One that its token limit cut is never used, on any side. Right and wrong are "
        "the verdicts of the rules on those that ended; Instruction has none.",
        ("source", "responses", "cut by the limit", "failed or blank", "right", "wrong"),
        [
            (name, number(one["responses"]), percent(shares[name]["cut by the limit"]),
             percent(shares[name]["failed or blank"]), number(one["right"]), number(one["wrong"]))
            for name, one in found.items()
        ],
        plots.bars(
            "How responses ended",
            "; ".join(f"{name}: {percent(s['cut by the limit'])} cut, {percent(s['failed or blank'])} failed or blank"
                      for name, s in shares.items()),
            shares, "share of the responses", percent=True,
        ),
    )  # fmt: skip


def _contamination(facts: Facts) -> Iterator[Section]:
    benchmarks = [b.name for b in facts.spec.evaluation.benchmarks]
    dropped = facts.counts.get("drop:Contaminated", 0)
    examples: Sequence[Mapping[str, str]] = facts.summary.get("prepared", {}).get("contamination", [])
    compared = f"Compared with {', '.join(benchmarks)}: " if benchmarks else "No benchmark was named to compare with: "
    yield Section(
        "Contamination",
        f"{compared}{number(dropped)} prompts were dropped for an overlap of 13 words or of a whole short prompt.",
        ("benchmark", "words in both", "prompt") if examples else (),
        [(one["benchmark"], one["shared"], one["prompt"]) for one in examples],
    )


def _provenance(facts: Facts) -> Iterator[Section]:
    spec, pins = facts.spec, facts.pins
    rows = [
        ("data set", one.name, f"{_address(facts, place)} ({one.split})", one.revision or "",
         pins.get(f"datasets[{one.name}]", ""))
        for place, one in enumerate(spec.datasets)
    ]  # fmt: skip
    for source in spec.sources:
        model = source.served.model if source.served else None
        rows.append(("source", source.name, model.uri if model else model_of(source), (model and model.revision) or "",
                     pins.get(f"sources[{source.name}].served.model", "")))  # fmt: skip
    reward = spec.reward_model.model
    rows.append(("reward model", "", spec.reward_model.place, (reward and reward.revision) or "",
                 pins.get("rewardModel.model", "")))  # fmt: skip
    yield Section(
        "Revisions",
        "The fingerprint is what a reference was pinned to when the run began: a prefix of the hash of its files, or "
        "of its commit.",
        ("what", "name", "where", "revision", "fingerprint"),
        rows,
    )


def _settings(facts: Facts) -> Iterator[Section]:
    spec = facts.spec
    construction, margin = spec.construction, spec.construction.reward_margin
    rows = [
        ("seed of construction and sampling", str(construction.seed)),
        ("seed of training", str(spec.training.seed)),
        ("reward margin", f"{margin.min} to {margin.max}, both included" if margin else ""),
        ("share of the Instruction prompts in SFT", str(construction.sft_fraction)),
        ("share of the pairs held out", str(construction.held_out_fraction)),
    ]
    rows += [(f"sampling of {s.name}", sampling_of(s.sampling)) for s in spec.sources if s.sampling]
    rows += [(f"system prompt of {s.name}", s.system_prompt) for s in spec.sources if s.system_prompt]
    rows += [(f"samples per prompt of {d.name}", str(d.samples_per_prompt)) for d in spec.datasets]
    yield Section("Seeds and settings", "", ("setting", "value"), rows)
