"""The worked example of docs/data.md, read from the page and executed: what the page says is what construct does."""

import hashlib
import json
from pathlib import Path

import pytest

pytest.importorskip("polars")
pytest.importorskip("pyarrow")

from fusionrun.api.artifacts import shard_name
from fusionrun.api.data import RewardMargin, Task
from fusionrun.api.parameters import ConstructParameters, SourceInputs
from fusionrun.api.records import PreferencePair, Prompt, Response, Score, SftExample, Verdict
from fusionrun.api.spec import FusionRunSpec
from fusionrun.api.task import StageTask
from fusionrun.plan.defaults import fill
from fusionrun_stages import construct
from fusionrun_stages.cards.dataset import build_dataset_card
from fusionrun_stages.cards.facts import Facts
from fusionrun_stages.volume.atomic import read_json
from fusionrun_stages.volume.parquet import read_rows, write_rows
from fusionrun_stages.work import Work
from support.runs import make_spec

PAGE = Path(__file__).parents[2] / "docs" / "data.md"
FILE = shard_name(0, 1) + ".parquet"


def read_table(heading: str, number: int) -> list[dict[str, str]]:
    """Return the rows of a table of the page, by the words of its head."""
    part = PAGE.read_text().split(f"## {heading}\n")[1].split("\n## ")[0]
    tables = [block for block in part.split("\n\n") if block.startswith("| ")]
    head, _, *rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in tables[number].splitlines()]
    return [dict(zip(head, row, strict=True)) for row in rows]


GIVEN = read_table("A worked example", 0)
EXPECTED = read_table("A worked example", 1)
RATES = read_table("A worked example", 2)
PROMPTS = {row["prompt"]: Task(row["task"]) for row in GIVEN}
SOURCES = sorted({row["source"] for row in GIVEN})


def name(prompt: str) -> str:
    return hashlib.sha256(prompt.encode()).hexdigest()[:16]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("example")
    prompts = [Prompt(prompt_id=name(p), dataset=str(t).lower(), task=str(t), prompt=p) for p, t in PROMPTS.items()]
    write_rows(folder / "prompts" / FILE, Prompt, prompts)
    for source in SOURCES:
        rows = [(row, {"prompt_id": name(row["prompt"]), "source": source, "sample_index": int(row["sample"])})
                for row in GIVEN if row["source"] == source]  # fmt: skip
        write_rows(folder / "responses" / source / FILE, Response, [
            Response(**key, dataset=row["task"].lower(), text=f"{source} {row['sample']}", finish_reason=row["ended"])
            for row, key in rows
        ])  # fmt: skip
        scored = [Score(**key, score_micro=round(float(r["score"]) * 1e6)) for r, key in rows if r["score"]]
        write_rows(folder / "scores" / source / FILE, Score, scored)
        judged = [Verdict(**key, verdict=r["verdict"]) for r, key in rows if r["verdict"]]
        write_rows(folder / "verdicts" / source / FILE, Verdict, judged)
    (folder / "prepare.json").write_text(json.dumps({"counts": {}}))
    output = folder / "out"
    output.mkdir()
    inputs = [
        SourceInputs(source=s, responses_dir=str(folder / "responses" / s), scores_dir=str(folder / "scores" / s),
                     verdicts_dirs=[str(folder / "verdicts" / s)])
        for s in SOURCES
    ]  # fmt: skip
    parameters = ConstructParameters(
        prompts_dir=str(folder / "prompts"),
        prepare_manifest=str(folder / "prepare.json"),
        tasks={str(t).lower(): t for t in PROMPTS.values()},
        sources=inputs,
        reward_margin=RewardMargin(min=0.01, max=0.1),
        sft_fraction=0.4,
        held_out_fraction=0.0,
        seed=42,
    )
    task = StageTask(
        run="r", namespace="n", stage="construct", digest="d", output_dir=str(output), parameters=parameters
    )
    return output, construct.run(Work(task, output, None, "uid", lambda *_, **__: None))


def test_every_prompt_gives_what_the_page_says(made):
    output, result = made
    rows = {row.prompt_id: row.messages[-1].content for row in read_rows(output / "sft.parquet", SftExample)}
    pairs = {
        row.prompt_id: f"{row.chosen[0].content} over {row.rejected[0].content}"
        for row in read_rows(output / "pairs.parquet", PreferencePair)
    }
    found = {p: (rows.get(name(p), ""), pairs.get(name(p), "")) for p in PROMPTS}
    assert found == {row["prompt"]: (row["SFT row"], row["pair"]) for row in EXPECTED}
    dropped = [row["dropped"] for row in EXPECTED if row["dropped"]]
    assert {k.removeprefix("drop:"): n for k, n in result.counts.items() if k.startswith("drop:")} == {
        reason: dropped.count(reason) for reason in dropped
    }


def test_every_source_wins_as_often_as_the_page_says(made):
    sources = read_json(made[0] / "summary.json")["sources"]
    for row in RATES:
        found = sources[row["source"]]
        assert found["contested"] == int(row["contested"])
        assert found["win_rate"] == pytest.approx(int(row["won"]) / found["contested"])
        assert len(row["which"].split(", ")) == int(row["won"])


def test_the_card_shows_the_example(made):
    pytest.importorskip("jinja2")
    pytest.importorskip("matplotlib")
    output, result = made
    datasets = [
        {"name": str(task).lower(), "uri": "pvc://fusion-data/x.jsonl", "task": str(task), "columns": {"prompt": "p"}}
        for task in dict.fromkeys(PROMPTS.values())
    ]
    spec = fill(FusionRunSpec.model_validate(make_spec(datasets=datasets)))
    facts = Facts("example", spec, result.counts, result.details, read_json(output / "summary.json"))
    markdown, page = build_dataset_card(facts)
    for line in (
        "| instruction | Instruction |  | 1 | 3 | 0 | 2 |",
        "| ada | pvc://fusion-data/models/ada | 2 | 5 | 8 | 50.0 % |",
        "| MarginBelow | 1 | 1 |",
        "| bob | 10 | 10.0 % | 0.0 % | 2 | 1 |",
    ):
        assert line in markdown
    assert page.count("<svg") == 7
