"""Which tasks of lm-eval can be measured, and by which metric."""

from types import SimpleNamespace

import pytest

from fusionrun.api.tasks.protocol import Aggregation
from fusionrun_stages.errors import UserError
from fusionrun_stages.harness.catalogue import Catalogue, hub_datasets, refusal
from fusionrun_stages.harness.loading import choose_metrics, score_aggregation
from support.harness import write_tasks


@pytest.fixture(scope="module")
def catalogue(tmp_path_factory):
    group = {
        "group": "both",
        "task": ["sums", {"task": "colours", "num_fewshot": 3}, {"group": "own", "task": ["code"]}],
    }
    code = {"task": "code", "unsafe_code": True, "dataset_path": "org/code", "tag": "programs"}
    return Catalogue.open(write_tasks(tmp_path_factory.mktemp("c"), both=group, code=code))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("sumz", r"evaluation.benchmarks\[1\].task: 'sumz': no task, group or tag of lm-eval \S+; near names: sums"),
        ("zzzz", r"no task, group or tag of lm-eval [\d.]+$"),
        ("code", "task 'code' runs programs that a model wrote"),
        ("programs", "task 'code' runs programs"),
        ("both", "'both': task 'code' runs programs"),
    ],
)
def test_tasks_that_are_refused(catalogue, name, message):
    with pytest.raises(UserError, match=message):
        catalogue.check(name, "evaluation.benchmarks[1].task")


def test_settings_of_the_tasks_of_a_group(catalogue):
    leaves = list(catalogue.leaves("both"))
    assert [(leaf["task"], leaf.get("num_fewshot")) for leaf in leaves] == [
        ("sums", None),
        ("colours", 3),
        ("code", None),
    ]
    assert hub_datasets(iter(leaves)) == {"org/code": None}


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"output_type": "loglikelihood_rolling"}, "perplexity"),
        ({"doc_to_image": ["image"]}, "images"),
        ({"generation_kwargs": {"num_beams": 4}}, "beams"),
        ({"generation_kwargs": {"num_beams": 1}, "output_type": "generate_until"}, None),
        ({}, None),
    ],
)
def test_reasons_to_refuse(settings, reason):
    found = refusal(settings)
    assert found is None if reason is None else reason in found


def task(higher=None, filters=(), **aggregation):
    return SimpleNamespace(
        aggregation=lambda: aggregation,
        higher_is_better=lambda: higher or {},
        get_config=lambda _: [{"name": name} for name in filters],
    )


def group(*metrics):
    fields = ("metric", "filter_list", "weight_by_size")
    return SimpleNamespace(
        aggregate_metric_list=[SimpleNamespace(**dict(zip(fields, one, strict=True))) for one in metrics]
    )


def test_metrics_that_are_means_over_the_questions():
    from lm_eval.api.metrics import mean, median

    two = {
        "a": task(f1=median, acc=mean, error=mean, higher={"error": False}, filters=("strict", "loose")),
        "b": task(acc=mean, bits=mean, filters=("loose", "strict")),
    }
    assert choose_metrics(two, None, None, "f") == ["acc,strict", "acc,loose"]
    assert choose_metrics(two, None, "acc,loose", "f") == ["acc,loose", "acc,strict"]
    assert choose_metrics(two, group(("acc", ["loose"], True)), None, "f")[0] == "acc,loose"
    assert choose_metrics(two, group(("acc", None, True)), None, "f")[0] == "acc,strict"
    with pytest.raises(UserError, match="f: metric: 'f1': must be one of acc,strict, acc,loose"):
        choose_metrics(two, None, "f1", "f")
    with pytest.raises(UserError, match="no interval and no paired test"):
        choose_metrics({"a": task(f1=median)}, None, None, "f")


@pytest.mark.parametrize(
    ("found", "tasks", "expected"),
    [
        (None, 1, Aggregation.MEAN),
        (None, 2, Aggregation.GROUP_MEANS),  # a tag
        (group(), 2, Aggregation.GROUP_MEANS),
        (group(("acc", None, True)), 2, Aggregation.MEAN),
        (group(("acc", None, False)), 2, Aggregation.GROUP_MEANS),
    ],
)
def test_how_the_tasks_of_a_group_are_averaged(found, tasks, expected):
    assert score_aggregation(found, "acc,none", tasks) is expected
