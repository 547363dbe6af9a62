"""judge with the protocols of the benchmarks: what is sent, stored and read back gives the protocol's score."""

import json
import math

import pytest

from fusionrun.api.evaluation_records import Judgement, Question
from fusionrun.api.records import Response
from fusionrun.api.spec.evaluation import Grader
from fusionrun.api.tasks.evaluation import JudgeParameters
from fusionrun_stages import judge
from fusionrun_stages.errors import UserError
from fusionrun_stages.judges.requests import judged_responses, last_replies
from fusionrun_stages.volume.parquet import read_rows, write_rows
from fusionrun_stages.volume.paths import shard_path
from support.judges import FILES
from support.replies import Replies, running
from support.stage import make_work

RUBRIC = "Rate {response} from 1 to 10 as [[5]]."
LOGPROBS = {"m": math.log(0.75), "M": math.log(0.25)}
REPLIES = {
    Grader.ALPACA_EVAL: "m",
    Grader.ARENA_HARD: "A is better: [[A>B]]",
    Grader.MT_BENCH: "[[7]]",
    Grader.ALIGN_BENCH: "{'正确': 6, '综合得分': 8}",
    Grader.RUBRIC: "[[9]]",
}
QUESTIONS = {
    Grader.ALPACA_EVAL: {"references": ["Baseline."], "data": '{"index": 0, "difficulty": 0.5}'},
    Grader.ARENA_HARD: {"references": ["Baseline."]},
    Grader.MT_BENCH: {"later_turns": ["And then?"]},
    Grader.ALIGN_BENCH: {"references": ["参考"], "data": '{"category": "数学计算", "subcategory": "算术"}'},
    Grader.RUBRIC: {},
}
"""Fields of the question of each benchmark."""
CALLS = {Grader.ARENA_HARD: 2, Grader.MT_BENCH: 2}
"""Requests on a response, if more than one."""
SAMPLING = {Grader.ALPACA_EVAL: {"temperature": 1.0, "max_tokens": 1, "top_logprobs": 5}}


class JudgeServer(Replies):
    """Replies as the judge of the benchmark whose name the question has."""

    def answer_to(self, body):
        text = str(body["messages"])
        grader = next(grader for grader in REPLIES if f"about {grader}" in text)
        top = [{"token": token, "logprob": value} for token, value in LOGPROBS.items()]
        logprobs = {"logprobs": {"content": [{"token": "m", "top_logprobs": top}]}} if "logprobs" in body else {}
        choice = {"message": {"content": REPLIES[grader]}, "finish_reason": "stop"} | logprobs
        return {"choices": [choice], "usage": {"prompt_tokens": 1, "completion_tokens": 1}}


def make_judging(folder, url):
    questions, responses, benchmarks = [], [], []
    for number, grader in enumerate(REPLIES):
        name = grader.lower()
        row = {"prompt_id": f"{number:016x}", "dataset": name}
        questions.append(Question(**row, task=grader, prompt=f"A question about {grader}", **QUESTIONS[grader]))
        later = ["Then this."] if grader is Grader.MT_BENCH else None
        text = f"An answer about {grader}"
        responses.append(
            Response(**row, source="final", sample_index=0, text=text, later_texts=later, finish_reason="stop")
        )
        request = {"temperature": 0.0, "model": "gpt-4"} | SAMPLING.get(grader, {})
        protocol = {"name": name, "version": 1, "sampling": {}, "grader": grader, "judge": request, "rubric": RUBRIC}
        benchmarks.append({"name": name, "grader": grader, "protocol": protocol})
        (folder / "materials" / name).mkdir(parents=True)
        for file, content in FILES[grader].items():
            (folder / "materials" / name / file).write_text(content, encoding="utf-8")
    write_rows(shard_path(folder / "prompts", 0, 1), Question, questions)
    write_rows(shard_path(folder / "responses", 0, 1), Response, responses)
    parameters = {
        "kind": "judge", "evaluated": "final", "base_url": url, "model": "judge", "benchmarks": benchmarks,
        "materials_dir": str(folder / "materials"), "concurrency": 4, "stall_seconds": 60,
        "prompts_dir": str(folder / "prompts"), "responses_dir": str(folder / "responses"), "shards": 1,
    }  # fmt: skip
    return make_work(folder / "out", parameters, shard=0)


def test_every_protocol_gives_its_score_of_what_the_judge_replied(tmp_path):
    with running(JudgeServer()) as server:
        work = make_judging(tmp_path, server.url)
        made = judge.run(work)
    assert made.values.judgements == sum(CALLS.get(grader, 1) for grader in REPLIES)
    assert (made.values.errors, made.values.unparsed) == (0, 0)
    rows = list(read_rows(tmp_path / "out" / made.files[0], Judgement))
    parameters = work.parameters(JudgeParameters)
    values = {}
    for judged in judged_responses(parameters, 0, judge.open_benchmarks(parameters)):
        replies = last_replies(row for row in rows if row.prompt_id == judged.response.prompt_id)
        values[judged.benchmark.name] = judged.benchmark.protocol.judged(judged.question, judged.response, replies)
    assert values["alpacaeval"].value in (pytest.approx(25.0), pytest.approx(75.0))  # by the order of the outputs
    assert json.loads(rows[0].logprobs) == LOGPROBS
    assert (values["arenahard"].value, values["arenahard"].weight) == (50.0, 2.0)  # A wins in both orders
    assert (values["mtbench"].value, values["mtbench"].weight) == (7.0, 2.0)
    assert values["alignbench"].value == 8.0
    assert values["rubric"].value == 9.0


def test_a_template_that_cannot_be_used_names_the_benchmark_and_the_file(tmp_path):
    work = make_judging(tmp_path, "http://127.0.0.1:9/v1")
    (tmp_path / "materials" / "arenahard" / "judge.yaml").unlink()
    with pytest.raises(UserError, match=r"evaluation.benchmarks\[arenahard\]: .*judge.yaml: the file is missing"):
        judge.run(work)
