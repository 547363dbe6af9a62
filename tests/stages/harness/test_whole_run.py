"""A task of lm-eval as the only benchmark: through prepare, generate, evaluate and compare, with a server for vLLM."""

import json
from types import SimpleNamespace

import pytest

from fusionrun.api.artifacts import QUESTION_SCORES_FILE
from fusionrun.api.evaluation_records import Question, QuestionScore
from fusionrun.api.records import Prompt
from fusionrun.api.spec.evaluation import Grader
from fusionrun.api.spec.models import Sampling
from fusionrun.api.tasks.evaluation import BenchmarkParameters, CompareParameters, EvaluateParameters
from fusionrun.api.tasks.harness import HarnessTask
from fusionrun.api.tasks.parameters import PrepareParameters
from fusionrun.api.tasks.protocol import Protocol
from fusionrun_stages import compare, evaluate, generate, prepare
from fusionrun_stages.errors import InfrastructureError
from fusionrun_stages.harness import stage
from fusionrun_stages.harness.download import pin_task
from fusionrun_stages.harness.measure import measure
from fusionrun_stages.volume.parquet import read_rows, write_rows
from fusionrun_stages.volume.paths import dataset_folder, shard_path
from support.harness import COLOURS, SUMS, server_of, serving, write_tasks
from support.stage import make_work, read_shards

TASK = {"name": "pair", "task": "pair"}
PROTOCOL = Protocol(name="lm-eval/pair", version=1, sampling=Sampling(), grader=Grader.LM_EVAL)
BENCHMARKS = [BenchmarkParameters(name="pair", grader=Grader.LM_EVAL, protocol=PROTOCOL)]


@pytest.fixture
def run(tmp_path, volume, monkeypatch):
    """The prompts of a run without questions, and the data of a group of two tasks of different sizes."""
    metrics = [{"metric": "acc", "weight_by_size": False}]
    few = tmp_path / "rows" / "few.jsonl"
    colours = {"task": "few", "dataset_kwargs": {"data_files": {"test": str(few)}}}
    group = {"group": "pair", "task": ["colours", "few"], "aggregate_metric_list": metrics}
    tasks = write_tasks(tmp_path, pair=group)
    few.write_text("".join(json.dumps(row) + "\n" for row in COLOURS[:2]))
    (tasks / "few.yaml").write_text(json.dumps(json.loads((tasks / "colours.yaml").read_text()) | colours))
    monkeypatch.setattr(stage, "measure", lambda *arguments: measure(*arguments, include=tasks))
    pin = pin_task(HarnessTask(**TASK), "evaluation.benchmarks[pair]", include=tasks)
    made = prepare.run(
        make_work(tmp_path / "prepared", PrepareParameters(datasets=[], shards=1, seed=1), "prepare/benchmarks")
    )
    assert made.files == ["prompts/00000-of-00001.parquet"]
    return SimpleNamespace(folder=tmp_path, data={"pair": str(dataset_folder(pin.pin))})


def work_of(run, url, model="base", **fields):
    parameters = {
        "kind": "generate", "source": model, "base_url": f"{url}/v1", "model": model, "shards": 1,
        "prompts_dir": str(run.folder / "prepared" / "prompts"), "samples_per_prompt": {}, "concurrency": 2,
        "stall_seconds": 600, "seed": 1, "harness": {"tasks": [TASK], "data": run.data},
        "sampling": {"temperature": 0.0, "top_p": 1.0, "top_k": -1, "repetition_penalty": 1.0, "max_tokens": 9},
    }  # fmt: skip
    return make_work(run.folder / f"generated-{model}", parameters | fields, f"generate/eval-{model}", shard=0)


def generated(run, model, wrong):
    """Measure a model that gives a wrong answer to some questions, twice; return what the first pod made."""
    right = {row["question"]: row["options"][row["right"]] for row in COLOURS}
    server = server_of(right | {COLOURS[n]["question"]: COLOURS[n]["options"][n - 1] for n in wrong})
    with serving(server) as url:
        work = work_of(run, url, model)
        first = generate.run(work)
        asked = server.paths["/v1/completions"]
        again = generate.run(work)
        assert server.paths["/v1/completions"] == asked
        assert (again.values.requests, again.files) == (first.values.requests, first.files)
    return first


def evaluated(run, model="base", benchmarks=BENCHMARKS):
    folders = {f"{name}_dir": str(run.folder / place / name) for name, place in
               (("prompts", "prepared"), ("responses", f"generated-{model}"))}  # fmt: skip
    parameters = EvaluateParameters(
        model=model, benchmarks=benchmarks, shards=1, harness_dir=str(run.folder / f"generated-{model}"), **folders
    )
    return evaluate.run(make_work(run.folder / model, parameters))


def test_a_task_is_measured_scored_and_compared_as_lm_eval_aggregates_it(run):
    made = generated(run, "base", wrong=[0])
    assert made.files == [
        "responses/00000-of-00001.parquet", "harness/pair.json", "harness/pair.parquet", "harness/pair.scores.parquet",
    ]  # fmt: skip
    options = 3 * len(COLOURS)  # the questions of the smaller task are among those of the larger one
    assert (made.values.requests, made.values.responses, made.values.errors) == (options, options, 0)
    generated(run, "final", wrong=[])

    base, final = evaluated(run, "base"), evaluated(run, "final")
    assert base.values.scores == {"pair": pytest.approx((80 + 50) / 2)}  # not 5 of 7
    assert base.values.graded == {"pair": len(COLOURS) + 2}
    assert base.values.lower["pair"] < 65 < base.values.upper["pair"]
    assert (final.values.scores, final.values.graded) == ({"pair": 100.0}, {"pair": 7})
    assert base.files == [QUESTION_SCORES_FILE, "harness/pair.json"]
    details = base.details["pair"]
    assert (details["task"], details["metric"], details["lm_eval"]) == ("pair", "acc,none", "0.4.13")
    assert details["official"] == pytest.approx(details["score"])
    assert details["categories"] == {"colours": 80.0, "few": 50.0}
    assert set(details["metrics"]) == {"acc_norm,none"}
    assert (details["right"], details["failed"], details["protocol"]) == (5, 0, "lm-eval/pair")
    assert details["questions_sha256"] == final.details["pair"]["questions_sha256"]

    scores = {model: str(run.folder / model / QUESTION_SCORES_FILE) for model in ("base", "final")}
    parameters = CompareParameters(benchmarks=BENCHMARKS, scores=scores, pairs=[("final", "base")], seed=1)
    compared = compare.run(make_work(run.folder / "compared", parameters))
    assert compared.values.differences["final-base"]["pair"].delta == 35.0
    rows = list(read_rows(run.folder / "base" / QUESTION_SCORES_FILE, QuestionScore))
    assert len({row.prompt_id for row in rows if not row.metric}) == len(COLOURS) + 2


def test_training_prompts_that_overlap_the_questions_are_dropped(run):
    right = "What is the capital of the country?"
    rows = [{"prompt": COLOURS[3]["question"].upper()}, {"prompt": right}]
    file = run.folder / "training.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    dataset = {"name": "a", "task": "Instruction", "columns": {"prompt": "prompt"}, "uri": str(file)}
    parameters = PrepareParameters(datasets=[dataset], harness_data=run.data, shards=1, seed=1)
    made = prepare.run(make_work(run.folder / "training", parameters, "prepare/prompts"))
    assert [row.prompt for row in read_shards(run.folder / "training" / "prompts", Prompt)] == [right]
    assert made.values.contaminated == 1
    report = json.loads((run.folder / "training" / "contamination.json").read_text())
    assert report["benchmarks"]["pair"]["by_dataset"] == {"a": 1}


def test_failed_requests_are_wrong_and_counted(run):
    def refuse(path, body):
        text = "".join(map(chr, body.get("prompt", []))) if path == "/v1/completions" else ""
        return (400, "no") if COLOURS[4]["question"] in text else None

    server = server_of()
    server.refuse = refuse
    with serving(server) as url:
        made = generate.run(work_of(run, url))
    assert made.values.errors
    assert made.values.requests == made.values.responses + made.values.errors
    found = evaluated(run, "base")
    assert found.values.scores == {"pair": pytest.approx((80 + 100) / 2)}
    assert found.details["pair"]["failed"] == 1


def test_a_task_without_results_is_reported(tmp_path):
    parameters = EvaluateParameters(model="base", benchmarks=BENCHMARKS, shards=1, prompts_dir="p", responses_dir="r")
    with pytest.raises(InfrastructureError, match="pair is a task of lm-eval, but the task has no results"):
        evaluate.run(make_work(tmp_path, parameters))


def test_a_task_stands_beside_a_benchmark_of_this_project(run):
    questions = [
        Question(prompt_id=f"{n:016x}", dataset="sums", task="ExactMatch", prompt=row["question"], answer="It is 4.")
        for n, row in enumerate(SUMS[:3])
    ]
    write_rows(shard_path(run.folder / "prepared" / "prompts", 0, 1), Question, questions)
    with serving(server_of()) as url:
        made = generate.run(work_of(run, url, samples_per_prompt={"sums": 1}))
    assert made.values.requests == made.values.responses == 3 + 3 * len(COLOURS)
    protocol = PROTOCOL.model_copy(update={"name": "Own/sums", "grader": Grader.EXACT_MATCH})
    sums = BenchmarkParameters(name="sums", grader=Grader.EXACT_MATCH, protocol=protocol)
    found = evaluated(run, benchmarks=[*BENCHMARKS, sums])
    assert found.values.scores == {"pair": 100.0, "sums": pytest.approx(100 / 3, abs=1e-3)}
    assert [*found.details] == ["pair", "sums"]
