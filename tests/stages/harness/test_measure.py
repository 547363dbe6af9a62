"""Tasks of lm-eval from the name to the scores, with invented tasks and a server in place of vLLM."""

import json

import pytest

from fusionrun.api.evaluation_records import QuestionScore
from fusionrun.api.tasks.harness import HarnessModel, HarnessSample, HarnessTask
from fusionrun.api.tasks.protocol import Aggregation
from fusionrun_stages.errors import InfrastructureError, UserError
from fusionrun_stages.harness.download import COMPLETE, pin_task
from fusionrun_stages.harness.measure import measure
from fusionrun_stages.volume.parquet import read_rows
from fusionrun_stages.volume.paths import dataset_folder
from support.harness import COLOURS, SUMS, server_of, serving, write_tasks

FIELD = "evaluation.benchmarks[0].task"


@pytest.fixture(scope="module")
def volume(tmp_path_factory):
    folder = tmp_path_factory.mktemp("volume")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FUSIONRUN_MOUNT", str(folder))
        yield folder


@pytest.fixture(scope="module")
def tasks(volume):
    metrics = [{"metric": "acc", "weight_by_size": False}]
    group = {"group": "palette", "task": ["colours", "shades"], "aggregate_metric_list": metrics}
    rows = volume / "rows" / "shades.jsonl"
    folder = write_tasks(volume, palette=group)
    rows.write_text(json.dumps(COLOURS[1]) + "\n")
    shades = json.loads((folder / "colours.yaml").read_text()) | {"task": "shades"}
    shades["dataset_kwargs"] = {"data_files": {"test": str(rows)}}
    (folder / "shades.yaml").write_text(json.dumps(shades))
    return folder


@pytest.fixture(scope="module")
def pins(tasks):
    return {name: pin_task(HarnessTask(name="b", task=name), FIELD, include=tasks) for name in ("sums", "palette")}


def run(tmp_path, tasks, pins, server, name, reports=None, **fields):
    task = HarnessTask(name="b", task=name, **fields)
    with serving(server) as url:
        model = HarnessModel(base_url=f"{url}/v1", model="m", concurrency=2, stall_seconds=600, api_key_env="KEY")

        def report(done, total, unit="", **_):
            if reports is not None:
                reports.append((done, total, unit))

        folder = dataset_folder(pins[name].pin)
        return measure(tmp_path, task, model, folder, FIELD, "pod", report, include=tasks)


def scores(tmp_path):
    return list(read_rows(tmp_path / "harness" / "b.scores.parquet", QuestionScore))


def test_the_pin_names_the_questions_and_the_data_is_read_once(tasks, pins):
    folder = dataset_folder(pins["palette"].pin)
    assert pins["palette"].documents == len(COLOURS) + 1
    assert json.loads((folder / COMPLETE).read_text())["content"] == pins["palette"].content
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    assert pin_task(HarnessTask(name="other", task="palette"), FIELD, include=tasks) == pins["palette"]
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before
    assert pins["sums"].pin != pins["palette"].pin
    wrong = HarnessTask(name="other", task="palette", metric="f1")
    with pytest.raises(UserError, match=r"task: 'palette': metric: 'f1': must be one of acc,none, acc_norm,none"):
        pin_task(wrong, FIELD, include=tasks)


def test_responses_are_filtered_and_graded_by_lm_eval(tmp_path, tasks, pins, monkeypatch):
    monkeypatch.setenv("KEY", "secret")
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    answers = {row["question"]: f"It is {row['answer']}." for row in SUMS}
    answers[SUMS[1]["question"]] = "2"  # right, and not as the first filter wants it
    answers[SUMS[2]["question"]] = "It is 5."
    server, reports = server_of(answers), []
    score = run(tmp_path, tasks, pins, server, "sums", reports)
    assert (score.metric, score.questions, score.available) == ("exact_match,strict", 6, 6)
    assert score.score == pytest.approx(100 * 4 / 6)
    assert score.official == pytest.approx(score.score)
    assert (score.truncated, score.failed, score.modified) == (0, 0, False)
    assert server.keys == {"Bearer secret"}
    assert reports[-1] == (6, 6, "requests")
    rows = scores(tmp_path)
    assert [row.score for row in rows if not row.metric] == [100, 0, 0, 100, 100, 100]
    assert [row.score for row in rows if row.metric == "exact_match,loose"] == [100, 100, 0, 100, 100, 100]
    assert len({row.prompt_id for row in rows}) == 6
    samples = list(read_rows(tmp_path / "harness" / "b.parquet", HarnessSample))
    assert json.loads(samples[2].responses[0]) == ["It is 5."]
    assert json.loads(json.loads(samples[2].requests[0])[0])["messages"][0]["content"].startswith("What is 2 plus 2?")
    assert not list((tmp_path / "parts").iterdir())

    again = server_of({})
    assert run(tmp_path, tasks, pins, again, "sums") == score
    assert not again.paths


def test_a_restarted_pod_sends_only_the_requests_without_a_reply(tmp_path, tasks, pins):
    replied = []

    def refuse(_path, body):
        if len(replied) == 4:
            return 401, "the key has expired"
        replied.append(body["messages"][0]["content"])
        return None

    with pytest.raises(UserError, match="401: the key has expired"):
        run(tmp_path, tasks, pins, server_of(refuse=refuse), "sums")
    (part,) = (tmp_path / "parts").iterdir()
    stored = part.read_bytes().count(b"\n")
    assert 3 <= stored <= 4
    second = server_of()
    assert run(tmp_path, tasks, pins, second, "sums").score == 100
    assert second.paths.total() == 6 - stored


def test_options_are_ranked_by_likelihood_and_tasks_of_a_group_count_the_same(tmp_path, tasks, pins):
    answers = {row["question"]: row["options"][row["right"]] for row in COLOURS}
    answers[COLOURS[0]["question"]] = "blue"
    server = server_of(answers)
    score = run(tmp_path, tasks, pins, server, "palette")
    assert score.aggregation is Aggregation.GROUP_MEANS
    assert score.groups == {"colours": 80, "shades": 100}
    assert score.score == score.official == 90
    # Each option is one request; the question of shades is one of colours.
    assert server.paths["/v1/completions"] == score.requests == 3 * len(COLOURS)
    rows = scores(tmp_path)
    assert [row.score for row in rows if (row.metric, row.group) == ("", "colours")] == [0, 100, 100, 100, 100]
    assert {row.metric for row in rows} == {"", "acc_norm,none"}


def test_a_question_whose_request_fails_is_wrong(tmp_path, tasks, pins):
    def refuse(path, body):
        text = "".join(map(chr, body["prompt"])) if path == "/v1/completions" else ""
        return (400, "no such token") if COLOURS[3]["question"] in text and text.endswith("blue") else None

    server = server_of(refuse=refuse)
    score = run(tmp_path, tasks, pins, server, "palette", metric="acc")
    assert (score.groups["colours"], score.failed, score.modified) == (80, 1, True)
    (row,) = [row for row in scores(tmp_path) if row.failed and not row.metric]
    assert (row.score, row.responses, row.group) == (0, 1, "colours")


def test_a_text_with_examples_and_a_sample_of_the_questions(tmp_path, tasks, pins):
    server = server_of()
    fields = {"few_shot": 2, "max_prompts": 3, "max_tokens": 9, "chat_template": False, "metric": "exact_match,loose"}
    score = run(tmp_path, tasks, pins, server, "sums", **fields)
    assert (score.questions, score.available, score.truncated) == (3, 6, 3)
    assert (score.metric, score.few_shot, score.modified) == ("exact_match,loose", {"sums": 2}, True)
    body = server.bodies[0]
    assert body["prompt"].count("Answer:") == 3
    assert (body["max_tokens"], body["stop"], body["temperature"]) == (9, ["\n\n"], 0)


def test_no_request_succeeds(tmp_path, tasks, pins):
    server = server_of(refuse=lambda *_: (400, "the model has no chat template"))
    with pytest.raises(UserError, match=r"none of 6 requests succeeded: 400: the model has no chat template"):
        run(tmp_path, tasks, pins, server, "sums")
    assert not list((tmp_path / "parts").iterdir())  # a corrected server is asked again


def test_questions_that_are_not_those_of_the_pin(tmp_path, tasks, pins):
    path = dataset_folder(pins["sums"].pin) / COMPLETE
    before = path.read_text()
    try:
        path.write_text(before.replace(pins["sums"].content, "0" * 64))
        with pytest.raises(InfrastructureError, match="the questions differ"):
            run(tmp_path, tasks, pins, server_of(), "sums")
    finally:
        path.write_text(before)
