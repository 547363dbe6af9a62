"""docs/gitops.md agrees with the health of every state and with the example repository."""

import re
from pathlib import Path

import yaml

from fusionrun.names import ANNOTATION_RETRY
from support.run_states import STATES

ROOT = Path(__file__).parents[2]
DOCUMENT = (ROOT / "docs" / "gitops.md").read_text()
EXAMPLE = ROOT / "manifests" / "gitops" / "example"
ROWS = [
    {"pending", "resumed", "changed"},
    {"waiting"},
    {"running", "waiting_for_gpus", "retried"},
    {"suspended"},
    {"complete"},
    {"gate_failed"},
    {"failed", "invalid", "failed_again"},
    {"retry_requested"},
]
"""The states of each row of the table."""


def test_the_table_has_the_health_of_every_state():
    table = DOCUMENT.split("## Health")[1].split("\n\n")[1].splitlines()[2:]
    assert set.union(*ROWS) == STATES.keys()
    for line, names in zip(table, ROWS, strict=True):
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        for state in (STATES[name] for name in names):
            assert cells[1:] == [state.argo_cd, state.flux, state.kstatus], line


def test_the_tree_lists_the_example_repository():
    tree = re.findall(r"^(\S+?)/? {2,}\S", DOCUMENT.split("```")[1], re.MULTILINE)
    assert set(tree) == {path.name for path in EXAMPLE.iterdir()}


def test_the_secrets_are_those_of_the_example():
    rows = re.findall(r"^\| `(\S+)` .* \| `(\S+)` \|$", DOCUMENT, re.MULTILINE)
    run = yaml.safe_load((EXAMPLE / "runs" / "qwen-math-500-a.yaml").read_text())["spec"]
    token = run["hub"]["tokenSecretRef"]
    values = next(o["spec"]["source"]["helm"]["valuesObject"] for o in _applications() if "helm" in o["spec"]["source"])
    (pull_secret,) = values["images"]["pullSecrets"]
    key = yaml.safe_load((ROOT / "helm" / "fusionrun" / "values.yaml").read_text())["serverKey"]["existingSecretKey"]
    assert rows == [
        (pull_secret, ".dockerconfigjson"),
        (token["name"], token["key"]),
        (values["serverKey"]["existingSecret"], key),
    ]


def _applications() -> list[dict]:
    return list(yaml.safe_load_all((EXAMPLE / "argo-cd.yaml").read_text()))


def test_the_snippets_are_valid():
    snippets = [yaml.safe_load(text) for text in re.findall(r"```yaml\n(.*?)```", DOCUMENT, re.DOTALL)]
    (waits, retries) = snippets
    assert waits["healthCheckExprs"][0]["kind"] == "FusionRun"
    assert ANNOTATION_RETRY in retries["metadata"]["annotations"]
