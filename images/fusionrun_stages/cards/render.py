"""Fill in the templates: the model's card, and the data set's as Markdown and as a page of its own."""

import json
from collections.abc import Mapping
from typing import Any

from fusionrun_stages.cards.sections import Facts, build_sections, model_of, sampling_of, tiles
from fusionrun_stages.construct import FILES
from fusionrun_stages.remote.hub import hub_id

SIZES = ((10**3, "n<1K"), (10**4, "1K<n<10K"), (10**5, "10K<n<100K"), (10**6, "100K<n<1M"), (10**7, "1M<n<10M"))
"""Source: huggingface.co/docs/hub/datasets-cards, ``size_categories``."""


class Cards:
    """The cards of one run.

    Parameters
    ----------
    scores
        By benchmark, then by model.
    """

    def __init__(self, facts: Facts, scores: Mapping[str, Mapping[str, float]]) -> None:
        self._facts = facts
        self._scores = scores

    def model(self) -> str:
        """Return the model's card."""
        uri = self._facts.spec.target.model.uri
        matter: dict[str, Any] = {"pipeline_tag": "text-generation", "library_name": "transformers"}
        if uri.startswith("hf://"):
            matter["base_model"] = hub_id(uri)
        matter["tags"] = ["fusionrun", "fusechat-3.0", "dpo"]
        return _render(
            "model.md.j2",
            front_matter=_front_matter(matter),
            name=self._facts.name,
            spec=self._facts.spec,
            counts=self._facts.counts,
            scores=self._scores,
        )

    def dataset(self) -> tuple[str, str]:
        """Return the data set's card, as Markdown and as a page of HTML.

        Notes
        -----
        Source of the front matter's keys: huggingface.co/docs/hub/datasets-cards.
        """
        facts = self._facts
        rows = sum(facts.counts.get(key, 0) for key in ("sft_rows", "pairs", "held_out_pairs"))
        configs = {file.removesuffix(".parquet"): file for file in FILES.values()}
        matter = {
            "pretty_name": facts.name,
            # Rows stand under the licences of several models and data sets: the card lists them.
            "license": "other",
            "license_name": "of-the-sources-and-data-sets",
            "task_categories": ["text-generation"],
            "size_categories": [next((name for limit, name in SIZES if rows < limit), "n>10M")],
            "tags": ["fusionrun", "fusechat-3.0", "synthetic", "sft", "dpo"],
            "configs": [{"config_name": name, "data_files": file} for name, file in configs.items()],
        }
        values = {
            "name": facts.name,
            "tiles": tiles(facts),
            "sections": build_sections(facts),
            "sources": len(facts.spec.sources),
        }
        markdown = _render("dataset.md.j2", front_matter=_front_matter(matter), **values)
        return markdown, _render("dataset.html.j2", **values)


def _render(template: str, **values: Any) -> str:
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("fusionrun_stages", "cards"),
        autoescape=jinja2.select_autoescape(["html.j2"], default=False),
        undefined=jinja2.ChainableUndefined,
        keep_trailing_newline=True,
    )
    environment.filters["score"] = lambda value: "" if not isinstance(value, float) else f"{value:.1f}"
    environment.filters["cell"] = _cell
    environment.globals.update(model_of=model_of, sampling_of=sampling_of, delta=_delta)
    return str(environment.get_template(template).render(**values))


def _front_matter(matter: Mapping[str, Any]) -> str:
    # JSON values are YAML, too: no YAML library is needed for so little.
    return "".join(f"{key}: {json.dumps(value)}\n" for key, value in matter.items())


def _cell(value: str) -> str:
    """Write a text so that it stays within its cell of a Markdown table, and what looks like HTML is not."""
    text = " ".join(value.split())
    return text.replace("\\", "\\\\").replace("|", "\\|").replace("<", "&lt;").replace("`", "\\`")


def _delta(by_model: Mapping[str, float]) -> str:
    if "final" not in by_model or "base" not in by_model:
        return ""
    return f"{by_model['final'] - by_model['base']:+.1f}"
