"""Sections of the data set's card about its origin: contamination, benchmarks, revisions and settings."""

from collections.abc import Iterator, Mapping, Sequence

from fusionrun.api.published.repositories import dataset_uri
from fusionrun.api.records import DropReason
from fusionrun.api.spec.evaluation import BenchmarkPreset
from fusionrun_stages.cards.facts import Facts, Section, model_of, number, reward_model_of, sampling_of
from fusionrun_stages.cards.licences_of_run import licences_of_benchmarks
from fusionrun_stages.cards.templates import section_text

NOT_SHOWN = frozenset({BenchmarkPreset.GPQA_DIAMOND})
"""Benchmarks whose owners ask that questions do not become public. Source: card of the data set Idavidrein/gpqa."""


def provenance(facts: Facts) -> Iterator[Section]:
    """Yield the sections about the origin."""
    for build in (_contamination, _benchmarks, _revisions, _settings):
        yield from build(facts)


def _contamination(facts: Facts) -> Iterator[Section]:
    benchmarks = [b.name for b in facts.spec.evaluation.benchmarks]
    dropped = number(facts.made.drops.get(DropReason.CONTAMINATED, 0))
    hidden = {b.name for b in facts.spec.evaluation.benchmarks if b.preset in NOT_SHOWN}
    found: Sequence[Mapping[str, str]] = facts.summary.get("prepared", {}).get("contamination", [])
    examples = [example for example in found if example["benchmark"] not in hidden]
    yield Section(
        "Contamination",
        section_text("contamination", benchmarks=benchmarks, dropped=dropped),
        ("benchmark", "shared words", "prompt") if examples else (),
        [(example["benchmark"], example["shared"], example["prompt"]) for example in examples],
    )


def _benchmarks(facts: Facts) -> Iterator[Section]:
    if rows := licences_of_benchmarks(facts):
        yield Section("Benchmarks", section_text("benchmarks"), ("benchmark", "licence of the questions"), rows)


def _revisions(facts: Facts) -> Iterator[Section]:
    spec, pins = facts.spec, facts.pins
    rows = [
        ("data set", d.name, f"{dataset_uri(d)} ({d.split})", d.revision or "", pins.get(f"datasets[{d.name}]", ""))
        for d in spec.datasets
    ]
    for source in spec.sources:
        model = source.served.model if source.served else None
        rows.append(("source", source.name, model.uri if model else model_of(source), (model and model.revision) or "",
                     pins.get(f"sources[{source.name}].served.model", "")))  # fmt: skip
    reward = spec.reward_model.model
    rows.append(("reward model", "", reward_model_of(spec.reward_model), (reward and reward.revision) or "",
                 pins.get("rewardModel.model", "")))  # fmt: skip
    head = ("what", "name", "location", "revision", "fingerprint")
    yield Section("Revisions", section_text("revisions"), head, rows)


def _settings(facts: Facts) -> Iterator[Section]:
    spec = facts.spec
    construction, margin = spec.construction, spec.construction.reward_margin
    rows = [
        ("seed of construction and sampling", str(construction.seed)),
        ("seed of training", str(spec.training.seed)),
        ("reward margin", f"{margin.min} to {margin.max}, inclusive" if margin else ""),
        ("fraction of the Instruction prompts in SFT", str(construction.sft_fraction)),
        ("fraction of the pairs held out", str(construction.held_out_fraction)),
    ]
    rows += [(f"sampling of {s.name}", sampling_of(s.sampling)) for s in spec.sources if s.sampling]
    rows += [(f"system prompt of {s.name}", s.system_prompt) for s in spec.sources if s.system_prompt]
    rows += [(f"samples per prompt of {d.name}", str(d.samples_per_prompt)) for d in spec.datasets]
    yield Section("Seeds and settings", "", ("setting", "value"), rows)
