"""Runs under Flux: its controllers apply them from Git, wait for them, and change nothing that they have applied.

The CRD of this checkout must be installed, and no other operator may watch the namespace of the tests. The runs have no
pods: their claim does not exist, they are suspended, or they are invalid.
"""

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from fusionrun.names import ANNOTATION_RETRY
from support.flux import Flux, flux, ready
from support.live import REPOSITORY, Cluster, condition
from support.run_states import STATES, new
from support.stand_in_run import operator, until

pytestmark = pytest.mark.integrations
NAMESPACE = "fusionrun-flux"
FLUX_HEALTH = Path(os.environ.get("FUSIONRUN_FLUX_HEALTH_1_9_6", ".")) / "flux-health"
EXAMPLE = REPOSITORY / "manifests" / "gitops" / "example" / "flux.yaml"
DOCUMENTS = list(yaml.safe_load_all(EXAMPLE.read_text()))
EXPRESSIONS = DOCUMENTS[-1]["spec"]["healthCheckExprs"]
KEPT = {"kustomize.toolkit.fluxcd.io/prune": "disabled"}


def health(folder: Path, expressions: list[dict[str, str]]) -> dict[str, tuple[str, str]]:
    """Return the health of every state: without expressions (kstatus), and with some."""
    (folder / "kustomization.yaml").write_text(yaml.safe_dump({"spec": {"healthCheckExprs": expressions}}))
    for name, state in STATES.items():
        (folder / name).write_text(yaml.safe_dump(state.make()))
    command = [FLUX_HEALTH, folder / "kustomization.yaml", *(folder / name for name in STATES)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return {Path(path).name: (without, with_) for without, with_, path in map(str.split, done.stdout.splitlines())}


def test_flux_knows_the_health_of_every_state(tmp_path):
    expected = {name: (state.kstatus, state.flux) for name, state in STATES.items()}
    assert health(tmp_path, EXPRESSIONS) == expected


def test_the_documented_expressions_wait_for_the_end_of_a_run(tmp_path):
    text = (REPOSITORY / "docs" / "gitops.md").read_text().split("```yaml\n")[1].partition("```")[0]
    found = health(tmp_path, yaml.safe_load(text)["healthCheckExprs"])
    ended = {name: with_ for name, (_, with_) in found.items() if with_ != "InProgress"}
    failed = dict.fromkeys(("gate_failed", "failed", "invalid", "failed_again", "retry_requested"), "Failed")
    assert ended == {"complete": "Current", **failed}


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Flux]:
    """Return Flux in a namespace of its own, without an operator."""
    cluster = Cluster(NAMESPACE)
    cluster.kubectl("create", "namespace", NAMESPACE)
    try:
        with flux(cluster, tmp_path_factory.mktemp("flux")) as found:
            yield found
    finally:
        cluster.kubectl("delete", "fusionrun", "--all", check=False)
        cluster.kubectl("delete", "namespace", NAMESPACE)


@pytest.fixture(scope="module")
def running(installed: Flux, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Flux]:
    """Return Flux beside the operator of this checkout."""
    with operator(NAMESPACE, tmp_path_factory.mktemp("operator")):
        yield installed


def run(name: str, annotations: dict[str, str] | None = None, **spec: Any) -> dict[str, Any]:
    """Return a run as it is in Git."""
    manifest = new(**spec).run
    metadata = {"name": name, "namespace": NAMESPACE, "annotations": annotations or {}}
    return {**{key: manifest[key] for key in ("apiVersion", "kind", "spec")}, "metadata": metadata}


def get(found: Flux, name: str) -> dict[str, Any]:
    return found.cluster.get("fusionrun", name)


def wait_until(found: Flux, name: str, kind: str, value: str = "True") -> dict[str, Any]:
    """Wait for a condition of a run; return the run."""
    run = until(lambda: get(found, name), lambda r: condition(r, kind) == value, f"{name}: {kind}")
    assert isinstance(run, dict)
    return run


def managed(found: Flux, name: str) -> list[dict[str, Any]]:
    """Return who owns which field of a run outside of its status, and since when."""
    fields = found.cluster.get("fusionrun", name, "--show-managed-fields")["metadata"]["managedFields"]
    return [each for each in fields if each.get("subresource") != "status"]


def test_the_example_is_valid(installed):
    items = [each | {"metadata": each["metadata"] | {"namespace": NAMESPACE}} for each in DOCUMENTS]
    listed = json.dumps({"apiVersion": "v1", "kind": "List", "items": items})
    installed.cluster.kubectl("create", "--dry-run=server", "--validate=strict", "-f", "-", stdin=listed)


def test_a_run_is_not_ready_before_an_operator_has_seen_it(installed):
    installed.add("unseen", wait=True)
    found = installed.push("unseen", {"run.yaml": run("unseen", suspend=True)})
    assert ready(found)["status"] == "False"
    assert "InProgress" in ready(found)["message"]
    assert get(installed, "unseen")["status"] == {"observedGeneration": -1}


def test_an_applied_run_does_not_drift(running):
    running.add("stable")
    assert ready(running.push("stable", {"run.yaml": run("stable")}))["status"] == "True"
    assert condition(wait_until(running, "stable", "Reconciling"), "Ready", "reason") == "ClaimMissing"
    before = managed(running, "stable")
    assert [each["manager"] for each in before] == ["kustomize-controller"]
    for _ in range(2):
        assert ready(running.reconcile("stable"))["status"] == "True"
        assert running.last_apply("stable") == {f"FusionRun/{NAMESPACE}/stable": "unchanged"}
    assert managed(running, "stable") == before
    assert get(running, "stable")["metadata"]["generation"] == 1


def test_a_server_side_apply_by_argo_cd_changes_nothing(running):
    arguments = ["apply", "--server-side", "--field-manager=argocd-controller", "--force-conflicts", "-f", "-"]
    found = running.cluster.kubectl(
        *arguments, "--dry-run=server", "-o", "json", stdin=json.dumps(run("stable")), check=True
    )
    live = get(running, "stable")
    merged = json.loads(found)
    for each in (live, merged):
        each["metadata"].pop("managedFields", None)
    assert merged == live


def test_an_allowed_field_and_labels_can_be_changed_in_git(running):
    running.add("changed", wait=True, healthCheckExprs=EXPRESSIONS)
    found = running.push("changed", {"run.yaml": run("changed")})
    assert ready(found)["status"] == "False", "it waits for its claim"
    manifest = run("changed", suspend=True)
    manifest["metadata"]["labels"] = {"team": "a"}
    assert ready(running.push("changed", {"run.yaml": manifest}))["status"] == "True"
    changed = get(running, "changed")
    assert condition(changed, "Suspended") == "True"
    assert changed["status"]["observedGeneration"] == changed["metadata"]["generation"] == 2
    assert changed["metadata"]["labels"]["team"] == "a"


def test_an_immutable_field_is_refused_and_the_run_continues(running):
    running.add("immutable")
    running.push("immutable", {"run.yaml": run("immutable", suspend=True)})
    before = wait_until(running, "immutable", "Suspended")
    changed = run("immutable", suspend=True, storage={"claimName": "other"})
    found = running.push("immutable", {"run.yaml": changed, "other.yaml": run("blocked", suspend=True)})
    assert ready(found)["status"] == "False"
    assert "spec.storage" in ready(found)["message"]
    assert "create a new FusionRun" in ready(found)["message"]
    assert "blocked" not in running.cluster.kubectl("get", "fusionrun", "-o", "name"), "nothing else is applied"
    assert get(running, "immutable")["spec"] == before["spec"]
    new_name = run("immutable-b", suspend=True, storage={"claimName": "other"})
    files = {"run.yaml": run("immutable", suspend=True), "run-b.yaml": new_name}
    assert ready(running.push("immutable", files))["status"] == "True"


def test_a_failed_run_is_reported_and_retried_by_its_annotation_in_git(running):
    invalid = {"storage": {"claimName": "other"}}
    running.add("failed", wait=True, healthCheckExprs=EXPRESSIONS)
    found = running.push("failed", {"run.yaml": run("failed", **invalid)})
    assert ready(found)["status"] == "False"
    assert "Failed" in ready(found)["message"]
    assert condition(get(running, "failed"), "Failed", "reason") == "InvalidSpec"
    running.push("failed", {"run.yaml": run("failed", {ANNOTATION_RETRY: "1"}, **invalid)})
    status = until(lambda: get(running, "failed")["status"], lambda s: s.get("retry") == "1", "the run is retried")
    assert len(status["retries"]) == 1
    running.reconcile("failed")
    assert len(get(running, "failed")["status"]["retries"]) == 1, "the same value has no further effect"


def test_an_annotation_set_by_kubectl_is_removed_and_has_its_effect(running):
    running.add("by-hand")
    running.push("by-hand", {"run.yaml": run("by-hand", storage={"claimName": "other"})})
    wait_until(running, "by-hand", "Failed")
    running.cluster.kubectl("annotate", "fusionrun", "by-hand", f"{ANNOTATION_RETRY}=now")
    until(lambda: get(running, "by-hand")["status"], lambda s: s.get("retry") == "now", "the run is retried")
    running.reconcile("by-hand")
    wait_until(running, "by-hand", "Failed")
    found = get(running, "by-hand")
    assert ANNOTATION_RETRY not in found["metadata"].get("annotations", {})
    assert (found["status"]["retry"], len(found["status"]["retries"])) == ("now", 1)


def test_a_field_set_by_kubectl_is_removed(running):
    running.add("paused")
    running.push("paused", {"run.yaml": run("paused")})
    wait_until(running, "paused", "Reconciling")
    running.cluster.kubectl("patch", "fusionrun", "paused", "--type=merge", "-p", '{"spec":{"suspend":true}}')
    wait_until(running, "paused", "Suspended")
    running.reconcile("paused")
    assert "suspend" not in wait_until(running, "paused", "Suspended", "False")["spec"]


def test_a_deleted_file_deletes_the_run_unless_it_is_protected(running):
    running.add("pruned")
    files = {"a.yaml": run("pruned", suspend=True), "b.yaml": run("protected", KEPT, suspend=True)}
    running.push("pruned", {**files, "c.yaml": run("stays", suspend=True)})
    running.push("pruned", dict.fromkeys(files))
    names = running.cluster.kubectl("get", "fusionrun", "-o", "name")
    assert "/pruned" not in names
    assert "/protected" in names
    assert "/stays" in names
