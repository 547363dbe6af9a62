"""The model card: scores, sources and training."""

from collections.abc import Mapping
from typing import Any

from fusionrun_stages.cards.facts import Facts
from fusionrun_stages.cards.templates import front_matter, render
from fusionrun_stages.models.recipe_template import SavedTemplate
from fusionrun_stages.remote.hub import hub_id


def build_model_card(
    facts: Facts, scores: Mapping[str, Mapping[str, float]], template: SavedTemplate | None = None
) -> str:
    """Return the model card in Markdown.

    ``scores`` are by benchmark, then by model. ``template`` is None if the model has no file with its chat template.
    """
    uri = facts.spec.trained.model.uri
    matter: dict[str, Any] = {"pipeline_tag": "text-generation", "library_name": "transformers"}
    if uri.startswith("hf://"):
        matter["base_model"] = hub_id(uri)
    matter["tags"] = ["fusionrun", "fusechat-3.0", "dpo"]
    return render(
        "model.md.j2",
        front_matter=front_matter(matter),
        name=facts.name,
        spec=facts.spec,
        made=facts.made,
        scores=scores,
        saved_template=template,
    )
