"""The worked example of docs/data.md: the page's tables are read and compared with the result of construct."""

import hashlib
import json
from pathlib import Path

import pytest

from fusionrun.api.spec.data import Task
from fusionrun.api.spec.run import FusionRunSpec
from fusionrun.plan.defaults import fill
from fusionrun_stages.cards.dataset import build_dataset_card
from fusionrun_stages.cards.facts import Facts
from support.construction import Answer, build
from support.runs import make_spec

PAGE = Path(__file__).parents[2] / "docs" / "data.md"


def read_table(heading: str, number: int) -> list[dict[str, str]]:
    """Return the rows of a table of the page by column name."""
    part = PAGE.read_text().split(f"## {heading}\n")[1].split("\n## ")[0]
    tables = [block for block in part.split("\n\n") if block.startswith("| ")]
    head, _, *rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in tables[number].splitlines()]
    return [dict(zip(head, row, strict=True)) for row in rows]


GIVEN = read_table("A worked example", 0)
EXPECTED = read_table("A worked example", 1)
RATES = read_table("A worked example", 2)
PROMPTS = {row["prompt"]: Task(row["task"]) for row in GIVEN}


def name(prompt: str) -> str:
    return hashlib.sha256(prompt.encode()).hexdigest()[:16]


def answer(row: dict[str, str]) -> Answer:
    score = float(row["score"]) * 1000 if row["score"] else None
    return Answer(row["source"], int(row["sample"]), score, row["verdict"] or None, row["ended"],
                  text=f"{row['source']} {row['sample']}")  # fmt: skip


@pytest.fixture(scope="module")
def outcome(tmp_path_factory):
    prompts = {name(p): (task, [answer(row) for row in GIVEN if row["prompt"] == p]) for p, task in PROMPTS.items()}
    return build(tmp_path_factory.mktemp("example"), prompts)


def test_every_prompt_gives_the_rows_of_the_page(outcome):
    rows = {prompt: row.messages[-1].content for prompt, row in outcome.sft.items()}
    pairs = {p: f"{row.chosen[0].content} over {row.rejected[0].content}" for p, row in outcome.pairs.items()}
    found = {p: (rows.get(name(p), ""), pairs.get(name(p), "")) for p in PROMPTS}
    assert found == {row["prompt"]: (row["SFT row"], row["pair"]) for row in EXPECTED}
    dropped = [row["dropped"] for row in EXPECTED if row["dropped"]]
    assert outcome.made.values.drops == {reason: dropped.count(reason) for reason in dropped}


def test_every_source_has_the_win_rate_of_the_page(outcome):
    sources = json.loads(outcome.files["summary.json"])["sources"]
    for row in RATES:
        found = sources[row["source"]]
        assert found["contested"] == int(row["contested"])
        assert found["win_rate"] == pytest.approx(int(row["won"]) / found["contested"])
        assert len(row["which"].split(", ")) == int(row["won"])


def test_the_card_shows_the_example(outcome):
    made = outcome.made
    datasets = [
        {"name": str(task).lower(), "uri": "pvc://fusion-data/x.jsonl", "task": str(task), "columns": {"prompt": "p"}}
        for task in dict.fromkeys(PROMPTS.values())
    ]
    spec = fill(FusionRunSpec.model_validate(make_spec(datasets=datasets)))
    facts = Facts("example", spec, made.values, made.details, json.loads(outcome.files["summary.json"]))
    markdown, page = build_dataset_card(facts)
    for line in (
        "| instruction | Instruction |  | 1 | 3 | 0 | 2 |",
        "| ada | pvc://fusion-data/models/ada | 2 | 5 | 8 | 50.0 % |",
        "| MarginBelow | 1 | 1 |",
        "| bob | 10 | 10.0 % | 0.0 % | 2 | 1 |",
    ):
        assert line in markdown
    assert page.count("<svg") == 7
