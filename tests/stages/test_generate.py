"""generate: every sample is requested once and kept, also if a pod is killed."""

import random
import signal
import time

import pytest

from fusionrun.api.records import Message, Prompt, Verdict, VerdictValue
from fusionrun.api.results.result import decode_result
from fusionrun.api.results.values import Generated
from fusionrun_stages.client.chat import sample_seed
from fusionrun_stages.errors import InfrastructureError
from fusionrun_stages.models.chat_template import TEMPLATE_ARGUMENTS
from fusionrun_stages.training import rows as training_rows
from fusionrun_stages.volume.json_lines import JsonLines
from fusionrun_stages.volume.parquet import write_rows
from fusionrun_stages.volume.paths import shard_path
from support.generation import PROMPTS, SAMPLES, TOTAL, make_generation, rows, run, start_pod


def test_every_sample_is_requested_once_with_every_parameter(tmp_path, server):
    made = run(tmp_path, server.url, system_prompt="Be brief.")
    found = rows(tmp_path)
    keys = [(r.prompt_id, r.sample_index) for r in found]
    assert keys == sorted((p.prompt_id, n) for p in PROMPTS for n in range(SAMPLES[p.dataset]))
    assert made.files == ["responses/00000-of-00002.parquet"]
    truncated = sum(r.finish_reason == "length" for r in found)
    rate = made.values.tokens_per_second
    assert rate > 0
    tokens = {"prompt_tokens": 5 * TOTAL, "completion_tokens": 7 * TOTAL, "tokens_per_second": rate}
    assert made.values == Generated(requests=TOTAL, responses=TOTAL, truncated=truncated, **tokens)
    path, _, body = server.requests[0]
    assert path == "/v1/chat/completions"
    sampling = {"temperature", "top_p", "top_k", "repetition_penalty", "max_tokens"}
    request = {"model", "messages", "n", "seed", "chat_template_kwargs"}
    assert body.keys() == request | sampling | ({"return_token_ids"} if body["n"] > 1 else set())
    assert [m["role"] for m in body["messages"]] == ["system", "user"]
    seeds = [b["seed"] + i for _, _, b in server.requests for i in range(b["n"])]
    assert len(seeds) == len(set(seeds)) == TOTAL
    assert not list((tmp_path / "out" / "parts").iterdir())


def test_all_turns_of_a_prompt_are_sent(tmp_path, server):
    turns = [Message(role="user", content="Capital of France?"), Message(role="assistant", content="Paris")]
    asked = [PROMPTS[0], PROMPTS[1].model_copy(update={"history": turns})]
    for shard, prompts in enumerate((asked, [])):
        write_rows(shard_path(tmp_path / "prompts", shard, 2), Prompt, prompts)
    run(tmp_path, server.url, system_prompt="Be brief.")
    sent = {tuple((m["role"], m["content"]) for m in body["messages"]) for _, _, body in server.requests}
    system, history = ("system", "Be brief."), [(turn.role, turn.content) for turn in turns]
    assert sent == {(system, ("user", "p 0")), (system, *history, ("user", "p 1"))}


def test_the_chat_template_gets_the_date_of_training(tmp_path, server):
    run(tmp_path, server.url)
    assert all(body["chat_template_kwargs"] == TEMPLATE_ARGUMENTS for _, _, body in server.requests)
    assert training_rows.TEMPLATE_ARGUMENTS is TEMPLATE_ARGUMENTS


@pytest.mark.parametrize(("penalty", "more"), [(1.0, set()), (1.05, {"repetition_penalty"})], ids=["neutral", "other"])
def test_an_external_endpoint_gets_openai_parameters_and_those_that_change_tokens(tmp_path, server, penalty, more):
    sampling = {"temperature": 0.7, "top_p": 0.8, "top_k": -1, "repetition_penalty": penalty, "max_tokens": 64}
    assert run(tmp_path, server.url, external=True, sampling=sampling).values.responses == TOTAL
    expected = {"model", "messages", "temperature", "top_p", "max_tokens", "n", "seed"} | more
    assert {frozenset(body) for _, _, body in server.requests} == {frozenset(expected)}


def test_a_data_set_without_samples_is_not_requested(tmp_path, server):
    assert run(tmp_path, server.url, samples_per_prompt={"d1": 2}).values.requests == 12
    assert {r.dataset for r in rows(tmp_path)} == {"d1"}


def test_a_prompt_whose_reference_solution_fails_is_not_requested(tmp_path, server):
    verdicts = [(0, VerdictValue.RIGHT), (2, VerdictValue.WRONG), (4, VerdictValue.UNKNOWN)]
    names = [p.prompt_id for p in PROMPTS]
    key = {"source": "solutions", "sample_index": 0}
    rows_of = [Verdict(prompt_id=names[n], verdict=value, **key) for n, value in verdicts]
    write_rows(shard_path(tmp_path / "verdicts", 0, 2), Verdict, rows_of)
    made = run(tmp_path, server.url, solutions_verdicts_dir=str(tmp_path / "verdicts"))
    assert set(names) - {r.prompt_id for r in rows(tmp_path)} == {names[2], names[4]}
    assert made.values.requests == TOTAL - 2 * SAMPLES["d0"]


def test_an_empty_shard_gives_an_empty_file(tmp_path, server):
    assert run(tmp_path, server.url, shard=1).values.requests == 0
    assert rows(tmp_path, 1) == []


def test_seeds_have_63_bits_and_room_for_the_index():
    seeds = [sample_seed(42, "qwen", "p", index) for index in range(128)]
    assert [s - seeds[0] for s in seeds] == list(range(128))
    assert 2**40 < seeds[0] < 2**63
    assert seeds[0] % 256 == 0
    assert len({sample_seed(a, b, c, 0) for a in (1, 2) for b in "xy" for c in "pq"}) == 8


def test_a_successor_requests_only_missing_samples(tmp_path, server):
    run(tmp_path / "whole", server.url)
    expected = rows(tmp_path / "whole")
    parts = tmp_path / "out" / "parts"
    for uid, kept in (("dead-1", expected[:5]), ("dead-2", expected[3:9])):
        lines = JsonLines(parts / f"shard-00000.{uid}.jsonl.part")
        for row in kept:
            lines.append(row)
        lines.close()
    with (parts / "shard-00000.dead-2.jsonl.part").open("ab") as file:
        file.write(b'{"prompt_id": "torn')
    server.requests.clear()
    made = run(tmp_path, server.url)
    assert sum(body["n"] for _, _, body in server.requests) == TOTAL - 9
    assert rows(tmp_path) == expected
    assert made.values.requests == TOTAL
    assert not list(parts.iterdir())


def test_a_complete_file_without_a_manifest_is_not_requested_again(tmp_path, server):
    first = run(tmp_path, server.url)
    server.requests.clear()
    again = run(tmp_path, server.url, uid="pod-b")
    assert server.requests == []
    assert again.values == first.values.model_copy(update={"tokens_per_second": again.values.tokens_per_second})


def test_a_server_that_refuses_connections_is_an_infrastructure_error(tmp_path):
    with pytest.raises(InfrastructureError, match="server stalled"):
        run(tmp_path, "http://127.0.0.1:9/v1", stall_seconds=1)


def test_a_generation_killed_at_random_times_writes_the_same_bytes(tmp_path, server):
    run(tmp_path / "whole", server.url)
    expected = shard_path(tmp_path / "whole" / "out" / "responses", 0, 2).read_bytes()
    server.delay = 0.05
    task = make_generation(tmp_path, server.url, concurrency=2).task
    choice = random.Random(7)
    code = None
    for attempt in range(20):
        with start_pod(tmp_path, f"pod-{attempt}", task) as process:
            before = len(server.requests)
            enough = before + choice.randint(1, 8)
            while process.poll() is None and (attempt >= 3 or len(server.requests) < enough):
                time.sleep(0.002)
            process.send_signal(signal.SIGKILL)
            code = process.wait()
        if code == 0:
            break
    assert code == 0
    assert shard_path(tmp_path / "out" / "responses", 0, 2).read_bytes() == expected
    assert (tmp_path / "out" / "manifests" / "00000-of-00002.json").is_file()


def test_two_runs_that_share_a_shard_request_each_sample_once(tmp_path, server):
    server.delay = 0.05
    task = make_generation(tmp_path, server.url, concurrency=2).task
    pods = [start_pod(tmp_path, name, task.model_copy(update={"run": name})) for name in ("one", "two")]
    assert [pod.wait(60) for pod in pods] == [0, 0]
    results = [decode_result((tmp_path / f"{name}.termination").read_text()) for name in ("one", "two")]
    assert sorted(result.cached for result in results) == [False, True]
    assert sum(body["n"] for _, _, body in server.requests) == TOTAL
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["manifests", "parts", "responses"]
