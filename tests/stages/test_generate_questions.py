"""generate: questions of benchmarks with their own system message, prefill, sampling and turns."""

import random
import signal
import time
from collections import Counter

import pytest

from fusionrun.api.evaluation_records import Question
from fusionrun_stages import generate
from fusionrun_stages.errors import UserError
from fusionrun_stages.volume.json_lines import JsonLines
from fusionrun_stages.volume.parquet import write_rows
from fusionrun_stages.volume.paths import shard_path
from support.generation import error, make_generation, rows, run, start_pod

SAMPLING = {
    "temperature": 0.2,
    "top_p": 0.95,
    "top_k": -1,
    "repetition_penalty": 1.0,
    "max_tokens": 99,
    "stop": ["###"],
}


def question(name="q", dataset="bench", **fields):
    return Question(**{"prompt_id": name, "dataset": dataset, "task": "MTBench", "prompt": f"ask {name}"} | fields)


def ask(tmp_path, server, questions, samples=1, **fields):
    for shard, some in enumerate((questions, [])):
        write_rows(shard_path(tmp_path / "prompts", shard, 2), Question, some)
    run(tmp_path, server.url, samples_per_prompt={"bench": samples}, **fields)
    return rows(tmp_path)


def bodies(server):
    return [body for _, _, body in server.requests]


def turns(body):
    return [(message["role"], message["content"]) for message in body["messages"]]


def reply(text, finish="stop"):
    choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": finish}
    return 200, {}, {"choices": [choice], "usage": {"prompt_tokens": 10, "completion_tokens": 2}}


def test_the_system_message_and_the_sampling_are_those_of_the_question(tmp_path, server):
    given = [question("a", system="Be brief.", temperature=0.0), question("b")]
    ask(tmp_path, server, given, system_prompt="Of the run.", sampling_by_dataset={"bench": SAMPLING}, concurrency=1)
    first, second = bodies(server)
    assert turns(first) == [("system", "Be brief."), ("user", "ask a")]
    assert turns(second) == [("system", "Of the run."), ("user", "ask b")]
    assert (first["temperature"], second["temperature"]) == (0.0, 0.2)
    assert all((body["stop"], body["max_tokens"], body["top_p"]) == (["###"], 99, 0.95) for body in bodies(server))
    assert all("add_generation_prompt" not in body for body in bodies(server))


def test_a_prefill_is_continued_and_not_stored(tmp_path, server):
    server.plan = lambda body, number: reply("    return 1")
    (found,) = ask(tmp_path, server, [question(prefill="```python\n")])
    (body,) = bodies(server)
    assert turns(body) == [("user", "ask q"), ("assistant", "```python\n")]
    assert (body["add_generation_prompt"], body["continue_final_message"]) == (False, True)
    assert (found.text, found.later_texts) == ("    return 1", None)


def stopped(text, stop):
    status, headers, answer = reply(text)
    answer["choices"][0]["stop_reason"] = stop
    return status, headers, answer


@pytest.mark.parametrize(
    ("text", "stop", "stored"),
    [
        ("", "\n#", "# Twice\nreturn 2"),  # the template removed the line break of the prefill
        ("return 1", "\n#", "return 1"),
        ("", "###", ""),
        ("", None, ""),
    ],
)
def test_a_response_goes_on_after_the_line_break_of_its_prefill(tmp_path, server, text, stop, stored):
    server.plan = lambda body, number: stopped(text, stop) if number == 1 else reply(" Twice\nreturn 2")
    found, _ = ask(tmp_path, server, [question("a", prefill="```python\n"), question("z")], concurrency=1)
    assert (found.text, found.finish_reason) == (stored, "stop")
    asked = [turns(body)[-1] for body in bodies(server) if turns(body)[0] == ("user", "ask a")]
    assert asked == [("assistant", "```python\n"), ("assistant", "```python\n#")][: 1 + (stored == "# Twice\nreturn 2")]
    assert found.completion_tokens == 2 * len(asked)


def test_an_external_endpoint_cannot_continue_a_prefill(tmp_path, server):
    with pytest.raises(UserError, match=r"evaluation.benchmarks\[bench\].prefill: 'x': only vLLM can continue"):
        ask(tmp_path, server, [question(prefill="x")], external=True)
    assert server.requests == []
    assert len(ask(tmp_path, server, [question(system="s", later_turns=["more"])], external=True)) == 1


def test_every_turn_is_a_request_with_the_earlier_answers(tmp_path, server):
    server.plan = lambda body, number: reply(f"answer {len(body['messages'])}")
    given = question(system="Be brief.", prefill="Well, ", later_turns=["Why?", "And then?"])
    found = ask(tmp_path, server, [given], samples=2)
    assert [(r.sample_index, r.text, r.later_texts) for r in found] == [
        (n, "answer 3", ["answer 4", "answer 6"]) for n in range(2)
    ]
    assert {(r.finish_reason, r.error, r.prompt_tokens, r.completion_tokens) for r in found} == {("stop", None, 30, 6)}
    assert Counter(map(len, map(turns, bodies(server)))) == {3: 2, 4: 2, 6: 2}
    last = next(body for body in bodies(server) if len(body["messages"]) == 6)
    assert turns(last) == [
        ("system", "Be brief."), ("user", "ask q"), ("assistant", "Well, answer 3"), ("user", "Why?"),
        ("assistant", "answer 4"), ("user", "And then?"),
    ]  # fmt: skip
    assert "continue_final_message" not in last
    assert len({body["seed"] for body in bodies(server)}) == 6


@pytest.mark.parametrize(
    ("second", "expected", "requests"),
    [
        (error(400, "too long"), ("error", [], "400: too long"), 2),
        (reply("", "content_filter"), ("error", [], "finish_reason content_filter"), 2),
    ],
    ids=["rejected", "filtered"],
)
def test_a_failed_turn_ends_the_conversation(tmp_path, server, second, expected, requests):
    server.plan = lambda body, number: reply("first") if len(body["messages"]) == 1 else second
    other = question("z")  # so that the stage has a response
    found, _ = ask(tmp_path, server, [question(later_turns=["Why?", "And?"]), other])
    assert (found.finish_reason, found.later_texts, found.error) == expected
    assert found.text == "first"
    assert len(server.requests) == requests + 1


@pytest.mark.parametrize("cut", [1, 2])
def test_a_conversation_with_a_truncated_answer_goes_on(tmp_path, server, cut):
    server.plan = lambda body, number: reply(f"answer {number}", "length" if number == cut else "stop")
    (found,) = ask(tmp_path, server, [question(later_turns=["Why?", "And?"])])
    assert (found.text, found.finish_reason) == ("answer 1", "length")
    assert found.later_texts == ["answer 2", "answer 3"]


def test_a_transient_failure_of_a_later_turn_repeats_only_its_request(tmp_path, server, monkeypatch):
    monkeypatch.setattr("fusionrun_stages.client.retries.WAIT_MAX_SECONDS", 0.01)
    server.plan = lambda body, number: error(500, "oops") if number == 2 else reply(f"answer {number}")
    (found,) = ask(tmp_path, server, [question(later_turns=["Why?"])])
    assert (found.text, found.later_texts) == ("answer 1", ["answer 3"])
    assert [len(body["messages"]) for body in bodies(server)] == [1, 3, 3]


def test_a_restart_repeats_only_the_conversation_in_flight(tmp_path, server):
    given = [question(f"q{number}", later_turns=["Why?"]) for number in range(3)]
    whole = ask(tmp_path / "whole", server, given, samples=2)
    lines = JsonLines(tmp_path / "out" / "parts" / "shard-00000.dead.jsonl.part")
    for row in whole[:4]:
        lines.append(row)
    lines.close()
    server.requests.clear()
    assert ask(tmp_path, server, given, samples=2) == whole
    asked = Counter(body["messages"][0]["content"] for body in bodies(server))
    assert set(asked) == {"ask q2"}


def test_killed_pods_lose_no_conversation_and_repeat_only_those_in_flight(tmp_path, server):
    given = [question(f"q{number:02}", later_turns=["Why?", "And?"]) for number in range(12)]
    ask(tmp_path / "whole", server, given)
    expected = shard_path(tmp_path / "whole" / "out" / "responses", 0, 2).read_bytes()
    needed = len(server.requests)
    for shard, some in enumerate((given, [])):
        write_rows(shard_path(tmp_path / "prompts", shard, 2), Question, some)
    server.requests.clear()
    server.delay = 0.03
    task = make_generation(tmp_path, server.url, concurrency=2, samples_per_prompt={"bench": 1}).task
    choice, code, kills = random.Random(5), None, 0
    for attempt in range(12):
        with start_pod(tmp_path, f"pod-{attempt}", task) as process:
            enough = len(server.requests) + choice.randint(2, 9)
            while process.poll() is None and (attempt >= 3 or len(server.requests) < enough):
                time.sleep(0.002)
            process.send_signal(signal.SIGKILL)
            code = process.wait()
        if code == 0:
            break
        kills += 1
    assert (code, kills) == (0, 3)
    assert shard_path(tmp_path / "out" / "responses", 0, 2).read_bytes() == expected
    repeated = len(server.requests) - needed
    assert repeated <= kills * 2 * 3, "two conversations of three turns are in flight"


def test_samples_of_a_question_without_turns_share_a_request(tmp_path, server):
    found = ask(tmp_path, server, [question(prefill="x", data="y" * 1000)], samples=10)
    assert [body["n"] for body in bodies(server)] == [10]
    assert len({row.text for row in found}) == 10


def test_the_tests_of_a_question_are_not_read(tmp_path, server, monkeypatch):
    seen = []
    monkeypatch.setattr(generate.ChatClient, "request", spy(generate.ChatClient.request, seen))
    fields = {"answer": "1", "options": ["x", "y"], "references": ["r"], "data": "{}", "tests": ["assert f()"]}
    ask(tmp_path, server, [question(**fields)])
    assert seen
    assert all(getattr(question, name) is None for question in seen for name in fields)


def spy(request, seen):
    def requests(self, question, samples):
        seen.append(question)
        return request(self, question, samples)

    return requests
