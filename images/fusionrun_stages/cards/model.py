"""The model card: scores, sources and training."""

from fusionrun.api.published.repositories import dataset_uri
from fusionrun_stages.cards.facts import Facts
from fusionrun_stages.cards.licences_of_run import licences_of_benchmarks, licences_of_model
from fusionrun_stages.cards.scores import Scores, eval_results, judge_rows, score_rows
from fusionrun_stages.cards.templates import front_matter, render
from fusionrun_stages.models.recipe_template import SavedTemplate
from fusionrun_stages.remote.hub import hub_id


def build_model_card(facts: Facts, scores: Scores, template: SavedTemplate | None = None) -> str:
    """Return the model card in Markdown.

    ``template`` is None if the model has no file with its chat template.
    """
    from huggingface_hub import ModelCardData

    uri = facts.spec.trained.model.uri
    datasets = [hub_id(found) for found in map(dataset_uri, facts.spec.datasets) if found.startswith("hf://")]
    results = eval_results(scores, facts.spec)
    matter = ModelCardData(
        pipeline_tag="text-generation",
        library_name="transformers",
        base_model=hub_id(uri) if uri.startswith("hf://") else None,
        datasets=sorted(set(datasets)) or None,
        # The licences of several models and data sets apply: the card lists them.
        license="other",
        license_name="of-the-base-model-sources-and-data-sets",
        tags=["fusionrun", "fusechat-3.0", "dpo"],
        model_name=facts.name if results else None,
        eval_results=results or None,
    )
    return render(
        "model.md.j2",
        front_matter=front_matter(matter.to_dict()),
        name=facts.name,
        spec=facts.spec,
        made=facts.made,
        scores=score_rows(scores),
        groups=scores.groups,
        judges=judge_rows(facts.evaluated),
        saved_template=template,
        licences=list(licences_of_model(facts)),
        benchmark_licences=licences_of_benchmarks(facts),
    )
