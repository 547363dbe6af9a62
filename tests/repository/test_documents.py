"""The documents describe every reason, condition and path of the code, and no others."""

import re
from pathlib import Path

import pytest
import yaml

from fusionrun.api import artifacts
from fusionrun.api.spec.run import FusionRunSpec
from fusionrun.api.status.conditions import ConditionType, Reason
from fusionrun.plan.checks import check_spec
from fusionrun.plan.defaults import fill
from fusionrun.plan.policy import violations
from fusionrun.settings import Policy
from support.runs import make_spec

ROOT = Path(__file__).parents[2]
OPERATIONS = (ROOT / "docs" / "operations.md").read_text()
ARCHITECTURE = (ROOT / "docs" / "architecture.md").read_text()


def first_cells(document: str) -> set[str]:
    """Return the code words in the first cells of a document's tables."""
    rows = [line.split("|")[1] for line in document.splitlines() if line.startswith("| ")]
    return {word for cell in rows for word in re.findall(r"`(\w+)`", cell)}


@pytest.mark.parametrize("reason", Reason, ids=str)
def test_every_reason_is_documented(reason):
    assert reason in first_cells(OPERATIONS)


@pytest.mark.parametrize("condition", ConditionType, ids=str)
def test_every_condition_is_documented(condition):
    assert condition in first_cells(OPERATIONS)


def test_every_documented_reason_exists():
    documented = {w for w in first_cells(OPERATIONS) if re.fullmatch(r"([A-Z][a-z]+){2,}", w)}
    alerts = {w for w in documented if w.startswith("FusionRun")}
    assert documented - alerts <= set(Reason) | set(ConditionType)


def test_every_documented_alert_exists():
    rules = (ROOT / "manifests" / "monitoring" / "rules.yaml").read_text()
    assert all(f"alert: {name}" in rules for name in re.findall(r"`(FusionRun[A-Z]\w+)`", OPERATIONS))


def test_every_documented_helm_value_exists():
    values = (ROOT / "helm" / "fusionrun" / "values.yaml").read_text()
    for option in re.findall(r"--set ([\w.=,/]+)", OPERATIONS):
        for pair in option.split(","):
            for part in pair.split("=")[0].split("."):
                assert re.search(rf"^ *{part}:", values, re.MULTILINE), pair


def test_the_documented_folders_of_the_claim_are_those_of_the_code():
    assert artifacts.artifact_dir("KIND", "DIGEST").removeprefix("/data/") in OPERATIONS
    assert artifacts.model_dir("PIN").removeprefix("/data/") in OPERATIONS


def test_the_files_in_the_architecture_document_exist():
    for path in re.findall(r"`((?:tests|operator|images|docs|hack)/[\w./-]+)`", ARCHITECTURE):
        assert (ROOT / path).exists(), path


def test_the_architecture_document_has_at_most_200_lines():
    assert len(ARCHITECTURE.splitlines()) <= 200


def test_the_documented_settings_of_pods_are_accepted():
    (text,) = re.findall(r"## Adapt pods to a cluster.*?```yaml\n(.*?)```", OPERATIONS, re.DOTALL)
    spec = fill(FusionRunSpec.model_validate(make_spec(**yaml.safe_load(text)), extra="forbid"))
    assert check_spec(spec) == []
    refused = {error.field for error in violations(spec, Policy())}
    assert refused == {"training.pod.ipcLock", "dataStages.pod.serviceAccountName"}
    assert violations(spec, Policy(ipc_lock=True, service_accounts=("fusionrun-*",))) == []
