"""Runs of ``judge`` with an invented protocol: two orders per response, and a further attempt without a verdict."""

import hashlib
import re
import sys

from fusionrun.api.evaluation_records import Judgement, Question
from fusionrun.api.records import Message, Response
from fusionrun_stages import __main__ as stages
from fusionrun_stages import judge
from fusionrun_stages.judges.protocol import Call, Judged
from fusionrun_stages.volume.parquet import read_rows, write_rows
from fusionrun_stages.volume.paths import shard_path
from support.replies import Replies
from support.stage import make_work

QUESTIONS = [
    Question(prompt_id=f"{n:016x}", dataset=("arena", "sums", "chat")[n % 3], task="ArenaHard", prompt=f"question {n}")
    for n in range(12)
]
"""Of two benchmarks with a judge, ``arena`` and ``chat``, and of one without."""
ANSWERS = [
    Response(
        prompt_id=q.prompt_id,
        dataset=q.dataset,
        source="base",
        sample_index=0,
        text=f"answer {n}",
        finish_reason="stop",
    )
    for n, q in enumerate(QUESTIONS)
]
CALLS = 2 * 8
VERDICT = re.compile(r"\[\[([AB])\]\]")


class Orders:
    """The invented protocol: the judge compares the response with ``reference`` in both orders."""

    def calls(self, question, response):
        if not response.text:
            return []
        pairs = [("reference", response.text), (response.text, "reference")]
        return [self.call(n, f"{question.prompt}: {one} or {other}?") for n, (one, other) in enumerate(pairs)]

    def call(self, number, text):
        return Call(number, (Message(role="system", content="Judge."), Message(role="user", content=text)))

    def next_attempt(self, call, reply):
        if call.attempt or VERDICT.search(reply.text):
            return None
        turns = Message(role="assistant", content=reply.text), Message(role="user", content="Give a verdict.")
        return Call(call.number, (*call.messages, *turns), 1)

    def judged(self, question, response, replies):
        unparsed = sum(VERDICT.search(reply.text) is None for reply in replies.values())
        return Judged(None if unparsed else 50.0, unparsed=unparsed)


class JudgeServer(Replies):
    """A judge whose verdict is a hash of the messages. It has no verdict on ``vague`` answers, at any attempt."""

    def answer_to(self, body):
        text = body["messages"][1]["content"]
        digest = hashlib.sha256(text.encode()).digest()
        verdict = (
            "I cannot say."
            if "vague" in text or (digest[0] < 64 and len(body["messages"]) == 2)
            else "AB"[digest[1] % 2]
        )
        content = verdict if len(verdict) > 1 else f"{digest.hex()}: [[{verdict}]]"
        top = [{"token": "m", "logprob": -0.25}, {"token": "M", "logprob": -1.5}]
        choice = {"index": 0, "message": {"role": "assistant", "content": content}, "finish_reason": "stop"}
        choice |= {"logprobs": {"content": [{"token": "m", "top_logprobs": top}]}} if body.get("logprobs") else {}
        return {
            "model": f"{body['model']}-2024",
            "choices": [choice],
            "usage": {"prompt_tokens": 100, "completion_tokens": 10},
        }


def protocol(**fields):
    request = {"temperature": 0.0, "max_tokens": 256, "model": "gpt-4"}
    return {"name": "Test/Orders", "version": 1, "sampling": {}, "grader": "ArenaHard", "judge": request} | fields


def make_judging(tmp_path, url, shard=0, uid="pod-a", answers=ANSWERS, **fields):
    for name, model, rows in (("prompts", Question, QUESTIONS), ("responses", Response, answers)):
        if not (tmp_path / name).exists():
            write_rows(shard_path(tmp_path / name, 0, 2), model, rows)
            write_rows(shard_path(tmp_path / name, 1, 2), model, [])
    benchmarks = [{"name": name, "grader": "ArenaHard", "protocol": protocol()} for name in ("arena", "chat")]
    parameters = {
        "kind": "judge", "evaluated": "base", "base_url": url, "model": "judge-1", "shards": 2,
        "benchmarks": [*benchmarks, {"name": "sums", "grader": "Mathematics", "protocol": protocol(judge=None)}],
        "prompts_dir": str(tmp_path / "prompts"), "responses_dir": str(tmp_path / "responses"),
        "materials_dir": str(tmp_path / "materials"), "concurrency": 4, "stall_seconds": 600, "seed": 42,
    }  # fmt: skip
    return make_work(tmp_path / "out", parameters | fields, "judge/base", shard=shard, uid=uid)


def run(tmp_path, url, shard=0, uid="pod-a", **fields):
    return judge.run(make_judging(tmp_path, url, shard, uid, **fields))


def rows(tmp_path, shard=0):
    return list(read_rows(shard_path(tmp_path / "out" / "judgements", shard, 2), Judgement))


def open_orders(protocol, materials):
    """Open the invented protocol, instead of ``open_judge``."""
    return Orders()


if __name__ == "__main__":  # a pod
    judge.open_judge = open_orders
    sys.exit(stages.main(sys.argv[1:]))
