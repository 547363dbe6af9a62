"""Sections of the data set's card about its rows: licences, files, data sets, sizes, sources and dropped prompts."""

from collections.abc import Iterator, Mapping

from fusionrun.api.results.values import Prepared, SourceCounts
from fusionrun_stages.cards import plots
from fusionrun_stages.cards.facts import Facts, Section, model_of, number, percent
from fusionrun_stages.cards.licences import WARNED
from fusionrun_stages.cards.licences_of_run import licences_of_data
from fusionrun_stages.cards.sizes import HEAD, compare
from fusionrun_stages.cards.templates import section_text
from fusionrun_stages.construction.files import FILES, HELD_OUT, PAIR, SFT

KINDS = {SFT: "SFT rows", PAIR: "pairs", HELD_OUT: "held-out pairs"}


def contents(facts: Facts) -> Iterator[Section]:
    """Yield the sections about the rows."""
    for build in (_licences, _files, _datasets, _sizes, _sources, _dropped_prompts):
        yield from build(facts)


def _licences(facts: Facts) -> Iterator[Section]:
    found = list(licences_of_data(facts))
    yield Section(
        "Licences",
        section_text("licences"),
        ("what", "licence", "training on outputs", "terms", "source"),
        [(item, licence.name, licence.outputs, licence.terms, licence.source) for item, licence in found],
        warnings=[
            f"{item}: {licence.name}: training on outputs is {licence.outputs}. {licence.terms}"
            for item, licence in found
            if licence.outputs in WARNED
        ],
    )


def _files(facts: Facts) -> Iterator[Section]:
    made = facts.made
    yield Section(
        "Files",
        section_text("files"),
        ("file", "rows", "content"),
        [
            (FILES[SFT], number(made.sft_rows), "the best response to a prompt, as messages"),
            (FILES[PAIR], number(made.pairs), "prompt, chosen, rejected and both scores (millionths)"),
            (FILES[HELD_OUT], number(made.held_out_pairs), "pairs not used in training, to choose a checkpoint"),
        ],
    )


def _datasets(facts: Facts) -> Iterator[Section]:
    rows: Mapping[str, Mapping[str, int]] = facts.details.get("by_dataset", {})
    drops = facts.details.get("drops_by_dataset", {})
    prepared = facts.summary.get("prepared", {}).get("datasets", {})
    if not rows:
        return
    table = [
        (d.name, d.task.value, number(prepared.get(d.name, {}).get("prompts")),
         *(number(rows.get(d.name, {}).get(kind, 0)) for kind in KINDS), number(sum(drops.get(d.name, {}).values())))
        for d in facts.spec.datasets
    ]  # fmt: skip
    yield Section(
        "Data sets",
        section_text("datasets"),
        ("data set", "task", "prompts", *KINDS.values(), "dropped"),
        table,
        plots.bars(
            "Rows by data set",
            "; ".join(f"{row[0]}: {row[3]} SFT rows, {row[4]} pairs, {row[5]} held out" for row in table),
            {d.name: {label: rows.get(d.name, {}).get(kind, 0) for kind, label in KINDS.items()}
             for d in facts.spec.datasets},
            "rows",
        ),
    )  # fmt: skip


def _sizes(facts: Facts) -> Iterator[Section]:
    by_dataset = facts.details.get("by_dataset")
    table, warnings = compare(facts.spec.datasets, by_dataset) if by_dataset else ([], [])
    if table:
        yield Section("Sizes", section_text("sizes"), HEAD, table, warnings=warnings)


def _sources(facts: Facts) -> Iterator[Section]:
    summaries = facts.summary.get("sources", {})
    by_source = {s.name: facts.made.by_source.get(s.name, SourceCounts()) for s in facts.spec.sources}
    contested = {s.name: summaries.get(s.name, {}).get("contested") for s in facts.spec.sources}
    rates = {name: summaries[name]["win_rate"] for name, prompts in contested.items() if prompts}
    yield Section(
        "Sources",
        section_text("sources") if rates else "",
        ("source", "model", "SFT rows", "pairs", "contested prompts", "win rate"),
        [
            (s.name, model_of(s).partition("@")[0], number(by_source[s.name].sft_rows),
             number(by_source[s.name].pairs), number(contested[s.name]), percent(rates.get(s.name)))
            for s in facts.spec.sources
        ],
        plots.bars(
            "Win rate by source",
            "; ".join(f"{name}: {percent(rate)}" for name, rate in rates.items()),
            {name: {"win rate": rate} for name, rate in rates.items()},
            "fraction of the contested prompts",
            percent=True,
        ) if rates else "",
    )  # fmt: skip


def _dropped_prompts(facts: Facts) -> Iterator[Section]:
    drops = dict(sorted(facts.made.drops.items()))
    by_dataset: dict[str, dict[str, int]] = {n: dict(d) for n, d in facts.details.get("drops_by_dataset", {}).items()}
    for name, counts in facts.summary.get("prepared", {}).get("datasets", {}).items():
        before = Prepared.model_validate(counts).drops
        by_dataset.setdefault(name, {}).update({str(reason): n for reason, n in before.items() if n})
    names = [d.name for d in facts.spec.datasets if d.name in by_dataset]
    yield Section(
        "Dropped prompts",
        section_text("dropped"),
        ("reason", "prompts", *names),
        [(r, number(n), *(number(by_dataset[d].get(r, 0)) for d in names)) for r, n in drops.items()]
        or [("none", "0", *("0" for _ in names))],
        plots.bars("Dropped prompts by reason", "; ".join(f"{r}: {n}" for r, n in drops.items()),
                   {r: {"prompts": n} for r, n in drops.items()}, "prompts") if drops else "",
    )  # fmt: skip
