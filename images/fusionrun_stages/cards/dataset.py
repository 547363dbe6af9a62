"""The data set's card, in Markdown for hubs and as an HTML page with plots. Both have the same sections."""

from fusionrun.api.artifacts import DATASET_FILES
from fusionrun_stages.cards.contents import contents
from fusionrun_stages.cards.facts import Facts, Section, number, percent, score
from fusionrun_stages.cards.measurements import measurements
from fusionrun_stages.cards.provenance import provenance
from fusionrun_stages.cards.templates import front_matter, render

SIZES = ((10**3, "n<1K"), (10**4, "1K<n<10K"), (10**5, "10K<n<100K"), (10**6, "100K<n<1M"), (10**7, "1M<n<10M"))
"""Source: huggingface.co/docs/hub/datasets-cards, ``size_categories``."""


def build_dataset_card(facts: Facts) -> tuple[str, str]:
    """Return the data set's card as Markdown and as an HTML page."""
    rows = facts.made.sft_rows + facts.made.pairs + facts.made.held_out_pairs
    matter = {  # Source of the keys: huggingface.co/docs/hub/datasets-cards
        "pretty_name": facts.name,
        # The licences of several models and data sets apply: the card lists them.
        "license": "other",
        "license_name": "of-the-sources-and-data-sets",
        "task_categories": ["text-generation"],
        "size_categories": [next((name for limit, name in SIZES if rows < limit), "n>10M")],
        "tags": ["fusionrun", "fusechat-3.0", "synthetic", "sft", "dpo"],
        "configs": [{"config_name": file.removesuffix(".parquet"), "data_files": file} for file in DATASET_FILES],
    }
    values = {
        "name": facts.name,
        "tiles": tiles(facts),
        "sections": build_sections(facts),
        "sources": len(facts.spec.sources),
    }
    markdown = render("dataset.md.j2", front_matter=front_matter(matter), **values)
    return markdown, render("dataset.html.j2", **values)


def build_sections(facts: Facts) -> list[Section]:
    """Return the sections of the card; a run of an earlier release or without pairs has fewer."""
    return [*contents(facts), *measurements(facts), *provenance(facts)]


def tiles(facts: Facts) -> list[tuple[str, str]]:
    """Return the main numbers with their labels."""
    made = facts.made
    values = [
        (number(made.sft_rows), "SFT rows"),
        (number(made.pairs), "pairs"),
        (number(made.held_out_pairs), "held-out pairs"),
        (number(sum(made.drops.values())), "prompts dropped"),
    ]
    if "truncated_share" in facts.summary:
        values.append((percent(facts.summary["truncated_share"]), "of the responses truncated"))
    if "mean_margin" in facts.summary:
        values.append((score(facts.summary["mean_margin"]), "mean margin"))
    return values
