"""A reference to a task of lm-eval among those of a run."""

import pytest

from fusionrun.api.stage import Reference, ReferenceKind
from fusionrun.api.tasks.harness import HarnessPin, HarnessTask, task_of, task_uri
from fusionrun_stages.resolving import references

TASK = HarnessTask(name="own-name", task="mmlu_pro", few_shot=0, metric="exact_match,custom-extract")


@pytest.mark.parametrize(
    ("task", "uri"),
    [
        (HarnessTask(name="mmlu", task="mmlu"), "lm-eval://mmlu"),
        (HarnessTask(name="a/b", task="a/b", few_shot=5), "lm-eval://a/b?fewShot=5"),
        (
            TASK.model_copy(update={"name": "mmlu_pro"}),
            "lm-eval://mmlu_pro?fewShot=0&metric=exact_match%2Ccustom-extract",
        ),
    ],
)
def test_the_uri_of_a_task(task, uri):
    assert task_uri(task) == uri
    assert task_of(uri) == task


def test_a_task_is_pinned_by_its_name(monkeypatch):
    asked = []

    def pin_task(task, field, endpoint):
        asked.append((task, field, endpoint))
        return HarnessPin(pin="abc", version="0.4.13")

    monkeypatch.setattr(references, "pin_task", pin_task)
    field = "evaluation.benchmarks[mmlu].task"
    reference = Reference(field=field, kind=ReferenceKind.DATASET, uri=task_uri(TASK))
    pinned = references.pin(reference, "https://hub.example")
    assert (pinned.fingerprint, pinned.commit, pinned.on_claim) == ("abc", None, False)
    assert asked == [(TASK.model_copy(update={"name": "mmlu_pro"}), field, "https://hub.example")]
