"""The documents keep up with the code: every reason, condition and place is told."""

import re
from pathlib import Path

import pytest

from fusionrun.api import artifacts
from fusionrun.api.status import ConditionType, Reason

ROOT = Path(__file__).parents[2]
OPERATIONS = (ROOT / "docs" / "operations.md").read_text()
ARCHITECTURE = (ROOT / "docs" / "architecture.md").read_text()


def first_cells(document: str) -> set[str]:
    """Return the words in the first cells of a document's tables."""
    rows = [line.split("|")[1] for line in document.splitlines() if line.startswith("| ")]
    return {word for cell in rows for word in re.findall(r"`(\w+)`", cell)}


@pytest.mark.parametrize("reason", Reason, ids=str)
def test_what_a_reason_means_and_what_to_do_is_told(reason):
    assert reason in first_cells(OPERATIONS)


@pytest.mark.parametrize("condition", ConditionType, ids=str)
def test_when_a_condition_is_true_is_told(condition):
    assert condition in first_cells(OPERATIONS)


def test_no_reason_is_told_that_there_is_none_of():
    told = {w for w in first_cells(OPERATIONS) if re.fullmatch(r"([A-Z][a-z]+){2,}", w)}
    alerts = {w for w in told if w.startswith("FusionRun")}
    assert told - alerts <= set(Reason) | set(ConditionType)


def test_every_alert_that_is_told_exists():
    rules = (ROOT / "manifests" / "monitoring" / "rules.yaml").read_text()
    assert all(f"alert: {name}" in rules for name in re.findall(r"`(FusionRun[A-Z]\w+)`", OPERATIONS))


def test_every_helm_value_that_is_set_exists():
    values = (ROOT / "helm" / "fusionrun" / "values.yaml").read_text()
    for option in re.findall(r"--set ([\w.=,/]+)", OPERATIONS):
        for pair in option.split(","):
            for part in pair.split("=")[0].split("."):
                assert re.search(rf"^ *{part}:", values, re.MULTILINE), pair


def test_the_layout_of_the_claim_is_the_codes():
    assert artifacts.artifact_dir("KIND", "DIGEST").removeprefix("/data/") in OPERATIONS
    assert artifacts.model_dir("PIN").removeprefix("/data/") in OPERATIONS


def test_the_files_that_the_architecture_names_exist():
    for path in re.findall(r"`((?:tests|operator|images|docs|hack)/[\w./-]+)`", ARCHITECTURE):
        assert (ROOT / path).exists(), path


def test_the_architecture_is_short_enough_to_be_read():
    assert len(ARCHITECTURE.splitlines()) <= 200
