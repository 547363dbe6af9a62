"""What the real API server accepts and refuses."""

import copy
import json
import re
from pathlib import Path

import pytest
import yaml

from fusionrun import names
from fusionrun.api.spec.mutable import MUTABLE_FIELDS
from fusionrun.api.spec.run import FusionRunSpec
from support import mutable
from support.broken import broken
from support.runs import change, evaluation_only, measured

pytestmark = pytest.mark.cluster

REPOSITORY = Path(__file__).parents[2]
SAMPLES = sorted((REPOSITORY / "manifests" / "samples").glob("*.yaml"))
BASE = (Path(__file__).parent / "base.yaml").read_text()
FIELDS = sorted(f.alias for f in FusionRunSpec.model_fields.values())

CHANGES = {
    "recipe": "FuseChat-3.0",
    "evaluateOnly": {"models": [{"name": "ada", "model": {"uri": "pvc://fusion-data/ada"}}]},
    "target": {"family": "Qwen2.5", "model": {"uri": "pvc://fusion-data/other"}},
    "sources": [{"name": "zed", "served": {"model": {"uri": "pvc://fusion-data/zed"}}}],
    "rewardModel": {"model": {"uri": "hf://RLHFlow/ArmoRM-Llama3-8B-v0.1"}},
    "datasets": [{"name": "other", "uri": "pvc://fusion-data/other.jsonl", "task": "Instruction"}],
    "generation": {"shards": 9},
    "construction": {"rewardMargin": {"min": 0.5, "max": 21}},
    "training": {"dpo": {"beta": 1}},
    "evaluation": {"sampling": {"maxTokens": 9}},
    "hub": {"endpoint": "https://hub.example"},
    "s3": {"secretRef": {"name": "keys"}},
    "dataStages": {"resources": {"limits": {"memory": "8Gi"}}},
    "sandbox": {"pod": {"nodeSelector": {"pool": "sandbox"}}},
    "storage": {"claimName": "other"},
    "scheduling": {"gpuBudget": 8},
    "preflight": {"enabled": False},
    "publish": {"uri": "pvc://fusion-data/out"},
    "budget": {"maxGpuHours": 5},
    "backoffLimit": 7,
    "activeDeadlineSeconds": 600,
    "preRunningDeadlineSeconds": 600,
    "stageDeadlines": [{"kind": "sft", "activeDeadlineSeconds": 600}],
    "ttlSecondsAfterFinished": 3600,
    "suspend": True,
}


@pytest.mark.parametrize("path", SAMPLES, ids=lambda p: p.stem)
def test_every_sample_is_accepted(cluster, path):
    reply = cluster.create(path.read_text(), dry_run=True)
    assert reply.ok, reply.text


@pytest.mark.parametrize("case", broken("admission"), ids=lambda b: b.name)
def test_what_the_schema_can_see_is_refused_with_field_value_and_rule(cluster, case):
    reply = cluster.create(case.text, dry_run=True)
    assert not reply.ok, reply.text
    for fragment in case.message:
        assert fragment in reply.text, reply.text


@pytest.mark.parametrize("case", broken("plan", "cluster", "secret", "resolve", "update"), ids=lambda b: b.name)
def test_what_the_schema_cannot_see_is_taken(cluster, case):
    reply = cluster.create(case.text, dry_run=True)
    assert reply.ok, reply.text


def test_a_new_run_has_a_status_that_is_not_current_and_that_nobody_owns(cluster):
    """Flux and Helm wait for the operator (kstatus), and an apply finds no difference."""
    text = BASE.replace("name: base", "name: new")
    created = json.loads(cluster.apply("new", text).text)
    assert created["status"] == {"observedGeneration": -1}
    assert created["metadata"]["generation"] == 1
    assert not [m for m in created["metadata"]["managedFields"] if "f:status" in m["fieldsV1"]]
    # The first of them stores the default, which the API server has only added to its replies before.
    stored, again = (json.loads(cluster.apply("new", text).text) for _ in range(2))
    assert stored["metadata"]["generation"] == 1
    assert again == stored


@pytest.fixture(scope="module")
def kept(cluster):
    """A run that was accepted."""
    reply = cluster.create(BASE)
    assert reply.ok, reply.text
    return "base"


def test_every_field_has_a_change():
    assert sorted(CHANGES) == FIELDS


@pytest.mark.parametrize("field", sorted(set(FIELDS) - MUTABLE_FIELDS))
def test_a_field_that_is_in_a_digest_cannot_be_changed(cluster, kept, field):
    reply = cluster.patch(kept, {"spec": {field: CHANGES[field]}})
    assert not reply.ok
    assert re.search(rf"spec\.{field}\b.* (is|its) immutable.*create a new FusionRun", reply.text)


OF_THE_BASE = sorted(
    p for p in mutable.CHANGES if not any(part in p for part in (".endpoint.", ".judge.", "evaluateOnly"))
)
OF_MODELS = sorted(path for path in mutable.CHANGES if path.startswith("evaluateOnly"))


@pytest.mark.parametrize("path", OF_THE_BASE)
def test_a_mutable_field_below_the_top_can_be_changed_and_removed(cluster, kept, path):
    """Also if the base lacks the object that has the field."""
    run = yaml.safe_load(BASE)
    change(run["spec"], mutable.in_spec(path, run["spec"]), mutable.CHANGES[path])
    for text in (json.dumps(run), BASE):
        reply = cluster.ask("PUT", f"/{kept}", _replacement(cluster, kept, text), "application/json")
        assert reply.ok, reply.text


@pytest.fixture(scope="module")
def evaluating(cluster):
    """A run that only evaluates models."""
    spec = evaluation_only(measured("ada", server={"dtype": "float32"}), measured("bob"))
    run = {"apiVersion": names.API_VERSION, "kind": names.KIND, "metadata": {"name": "evaluating"}, "spec": spec}
    reply = cluster.create(json.dumps(run))
    assert reply.ok, reply.text
    return run


@pytest.mark.parametrize("path", OF_MODELS)
def test_how_many_servers_a_model_has_can_be_changed_and_removed(cluster, evaluating, path):
    changed = copy.deepcopy(evaluating)
    change(changed["spec"], mutable.in_spec(path, changed["spec"]), mutable.CHANGES[path])
    for run in (changed, evaluating):
        text = _replacement(cluster, "evaluating", json.dumps(run))
        reply = cluster.ask("PUT", "/evaluating", text, "application/json")
        assert reply.ok, reply.text


@pytest.mark.parametrize(
    ("index", "field", "value"),
    [
        (0, "chatTemplate", "Own"),
        (0, "model", {"uri": "pvc://fusion-data/other"}),
        (0, "server", {"dtype": "float16"}),
        (1, "server", {"maxModelLen": 64}),
    ],
)
def test_what_changes_the_responses_of_a_model_cannot_be_changed(cluster, evaluating, index, field, value):
    changed = copy.deepcopy(evaluating)
    changed["spec"]["evaluateOnly"]["models"][index][field] = value
    text = _replacement(cluster, "evaluating", json.dumps(changed))
    reply = cluster.ask("PUT", "/evaluating", text, "application/json")
    assert not reply.ok
    assert f"spec.evaluateOnly.models[].{field}" in reply.text


def _replacement(cluster, name, text):
    """Return a run as ``kubectl replace`` sends it."""
    version = json.loads(cluster.ask("GET", f"/{name}", "", "application/json").text)["metadata"]["resourceVersion"]
    run = json.loads(cluster.here(text))
    return json.dumps(run | {"metadata": {"name": name, "resourceVersion": version}})


@pytest.mark.parametrize("field", sorted(MUTABLE_FIELDS))
def test_a_field_that_is_in_no_digest_can_be_changed_and_removed(cluster, kept, field):
    for value in (CHANGES[field], None):
        reply = cluster.patch(kept, {"spec": {field: value}})
        assert reply.ok, reply.text


@pytest.mark.parametrize("field", ["target", "storage", "datasets"])
def test_a_required_field_cannot_be_removed(cluster, kept, field):
    assert not cluster.patch(kept, {"spec": {field: None}}).ok


def test_a_label_can_be_changed_at_any_time(cluster, kept):
    assert cluster.patch(kept, {"metadata": {"labels": {"team": "a"}}}).ok


@pytest.mark.parametrize("case", broken("update"), ids=lambda b: b.name)
def test_a_changed_recipe_is_refused_with_a_message(cluster, kept, case):
    reply = cluster.apply(kept, case.text)
    assert not reply.ok
    for fragment in case.message:
        assert fragment in reply.text


def test_status_is_written_by_its_subresource_only(cluster, kept):
    status = {"status": {"progress": "1/2"}}
    assert "1/2" not in cluster.patch(kept, status).text
    assert '"progress":"1/2"' in cluster.patch(kept, status, "/status").text


def test_a_status_outside_of_its_schema_is_refused(cluster, kept):
    reply = cluster.patch(kept, {"status": {"stages": [{"name": "sft", "state": 3}]}}, "/status")
    assert not reply.ok
    assert "status.stages[0].state" in reply.text


def test_a_state_and_a_condition_of_a_newer_release_are_taken(cluster, kept):
    """After a rollback of the CRD the API server would otherwise refuse every change of such a run."""
    condition = {"type": "Evicted", "status": "True", "reason": "Quota", "message": "", "observedGeneration": 1,
                 "lastTransitionTime": "2026-01-01T00:00:00Z"}  # fmt: skip
    status = {"stages": [{"name": "sft", "state": "Evicted"}], "conditions": [condition]}
    reply = cluster.patch(kept, {"status": status}, "/status")
    assert reply.ok, reply.text


def test_a_condition_of_another_controller_outlives_a_status_write(cluster, kept):
    def write(manager, kind):
        condition = {"type": kind, "status": "True", "reason": "Said", "lastTransitionTime": "2026-01-01T00:00:00Z"}
        run = {"apiVersion": f"{cluster.group}/{names.VERSION}", "kind": names.KIND, "metadata": {"name": kept}}
        body = json.dumps(run | {"status": {"conditions": [condition]}})
        path = f"/{kept}/status?fieldManager={manager}&force=true"
        return cluster.ask("PATCH", path, body, "application/apply-patch+yaml")

    for manager, kind in (("quota-controller", "QuotaReserved"), ("operator", "Ready"), ("operator", "Suspended")):
        reply = write(manager, kind)
        assert reply.ok, reply.text
    types = {c["type"] for c in json.loads(reply.text)["status"]["conditions"]}
    assert {"QuotaReserved", "Suspended"} <= types
    assert "Ready" not in types


def test_kubectl_get_shows_the_columns(cluster, kept):
    shown = cluster.kubectl("get", f"{names.PLURAL}.{cluster.group}", kept)
    assert shown.splitlines()[0].split() == ["NAME", "STAGE", "PROGRESS", "COMPLETE", "REASON", "GPUS", "AGE"]


def test_kubectl_explain_shows_the_description_of_a_field(cluster):
    version = f"--api-version={cluster.group}/{names.VERSION}"
    assert "sigmoid_norm" in cluster.kubectl("explain", f"{names.PLURAL}.spec.training.dpo.lengthNormalized", version)


def test_the_committed_crd_is_accepted(cluster):
    path = str(REPOSITORY / "manifests" / "crd.yaml")
    cluster.kubectl("apply", "--server-side", "--force-conflicts", "--dry-run=server", "--validate=strict", "-f", path)
