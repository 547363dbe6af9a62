"""generate: every sample is asked once and kept, whoever is killed."""

import json
import os
import random
import signal
import subprocess
import sys
import time

import pytest

pytest.importorskip("pyarrow")
httpx = pytest.importorskip("httpx")


from fusionrun.api.records import Verdict, VerdictValue
from fusionrun.api.result import decode_result
from fusionrun.api.task import encode_task
from fusionrun.api.values import Generated
from fusionrun_stages.client.chat import sample_seed
from fusionrun_stages.errors import InfrastructureError
from fusionrun_stages.models.chat_template import TEMPLATE_ARGUMENTS
from fusionrun_stages.training import rows as rows_of_training
from fusionrun_stages.volume.json_lines import JsonLines
from fusionrun_stages.volume.parquet import write_rows
from fusionrun_stages.volume.paths import shard_path
from support.generation import PROMPTS, SAMPLES, TOTAL, make_task, rows, run


def test_every_sample_is_asked_once_with_every_parameter(tmp_path, server):
    made = run(tmp_path, server.url, system_prompt="Be brief.")
    found = rows(tmp_path)
    keys = [(r.prompt_id, r.sample_index) for r in found]
    assert keys == sorted((p.prompt_id, n) for p in PROMPTS for n in range(SAMPLES[p.dataset]))
    assert made.files == ["responses/00000-of-00002.parquet"]
    truncated = sum(r.finish_reason == "length" for r in found)
    rate = made.values.tokens_per_second
    assert rate > 0
    assert made.values == Generated(
        requests=TOTAL, responses=TOTAL, truncated=truncated, prompt_tokens=5 * TOTAL, completion_tokens=7 * TOTAL,
        tokens_per_second=rate,
    )  # fmt: skip
    path, _, body = server.asked[0]
    assert path == "/v1/chat/completions"
    assert body.keys() == {
        "model", "messages", "temperature", "top_p", "top_k", "repetition_penalty", "max_tokens", "n", "seed",
        "chat_template_kwargs",
    } | ({"return_token_ids"} if body["n"] > 1 else set())  # fmt: skip
    assert [m["role"] for m in body["messages"]] == ["system", "user"]
    asked = [b["seed"] + i for _, _, b in server.asked for i in range(b["n"])]
    assert len(asked) == len(set(asked)) == TOTAL
    assert not list((tmp_path / "out" / "parts").iterdir())


def test_a_prompt_is_rendered_with_the_date_that_training_renders_with(tmp_path, server):
    run(tmp_path, server.url)
    assert {json.dumps(body["chat_template_kwargs"]) for _, _, body in server.asked} == {json.dumps(TEMPLATE_ARGUMENTS)}
    assert rows_of_training.TEMPLATE_ARGUMENTS is TEMPLATE_ARGUMENTS


def test_an_endpoint_is_asked_in_openais_words_alone(tmp_path, server):
    neutral = {"temperature": 0.7, "top_p": 0.8, "top_k": -1, "repetition_penalty": 1.0, "max_tokens": 64}
    assert run(tmp_path, server.url, external=True, sampling=neutral).values.responses == TOTAL
    ours = {"model", "messages", "temperature", "top_p", "max_tokens", "n", "seed"}
    assert {key for _, _, body in server.asked for key in body} == ours


def test_an_endpoint_is_sent_the_sampling_that_was_asked_for(tmp_path, server):
    run(tmp_path, server.url, external=True)
    assert all(body["repetition_penalty"] == 1.05 and "top_k" not in body for _, _, body in server.asked)


def test_a_data_set_that_is_not_named_is_not_asked(tmp_path, server):
    assert run(tmp_path, server.url, samples_per_prompt={"d1": 2}).values.requests == 12
    assert {r.dataset for r in rows(tmp_path)} == {"d1"}


def test_a_prompt_whose_own_solution_fails_is_not_asked(tmp_path, server):
    verdicts = [(0, VerdictValue.RIGHT), (2, VerdictValue.WRONG), (4, VerdictValue.UNKNOWN)]
    rows_of = [
        Verdict(prompt_id=PROMPTS[n].prompt_id, source="solutions", sample_index=0, verdict=value)
        for n, value in verdicts
    ]
    write_rows(shard_path(tmp_path / "verdicts", 0, 2), Verdict, rows_of)
    made = run(tmp_path, server.url, solutions_verdicts_dir=str(tmp_path / "verdicts"))
    assert {p.prompt_id for p in PROMPTS} - {r.prompt_id for r in rows(tmp_path)} == {
        PROMPTS[2].prompt_id,
        PROMPTS[4].prompt_id,
    }
    assert made.values.requests == TOTAL - 2 * SAMPLES["d0"]


def test_an_empty_shard_is_an_empty_file(tmp_path, server):
    assert run(tmp_path, server.url, shard=1).values.requests == 0
    assert rows(tmp_path, 1) == []


def test_seeds_have_63_bits_and_room_for_the_index():
    seeds = [sample_seed(42, "qwen", "p", index) for index in range(128)]
    assert [s - seeds[0] for s in seeds] == list(range(128))
    assert 2**40 < seeds[0] < 2**63
    assert seeds[0] % 256 == 0
    assert len({sample_seed(a, b, c, 0) for a in (1, 2) for b in "xy" for c in "pq"}) == 8


def test_a_successor_asks_only_for_what_is_missing(tmp_path, server):
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
    server.asked.clear()
    made = run(tmp_path, server.url)
    assert sum(body["n"] for _, _, body in server.asked) == TOTAL - 9
    assert rows(tmp_path) == expected
    assert made.values.requests == TOTAL
    assert not list(parts.iterdir())


def test_a_pod_that_died_between_file_and_manifest_asks_nothing_again(tmp_path, server):
    first = run(tmp_path, server.url)
    server.asked.clear()
    again = run(tmp_path, server.url, uid="pod-b")
    assert server.asked == []
    assert again.values == first.values.model_copy(update={"tokens_per_second": again.values.tokens_per_second})


def test_nobody_at_home_is_an_infrastructure_error(tmp_path):
    with pytest.raises(InfrastructureError, match="server wedged"):
        run(tmp_path, "http://127.0.0.1:9/v1", stall_seconds=1)


def test_kills_at_random_moments_end_in_the_same_bytes(tmp_path, server):
    run(tmp_path / "whole", server.url)
    expected = shard_path(tmp_path / "whole" / "out" / "responses", 0, 2).read_bytes()
    server.delay = 0.05
    (tmp_path / "task.json").write_text(encode_task(make_task(tmp_path, server.url, concurrency=2)))
    choice = random.Random(7)
    code = None
    for attempt in range(20):
        environment = os.environ | {
            "FUSIONRUN_TASK": str(tmp_path / "task.json"),
            "FUSIONRUN_TERMINATION": str(tmp_path / "termination"),
            "FUSIONRUN_POD_UID": f"pod-{attempt}",
            "JOB_COMPLETION_INDEX": "0",
            "PYTHONPATH": os.pathsep.join(sys.path),
        }
        with subprocess.Popen([sys.executable, "-m", "fusionrun_stages", "generate"], env=environment) as process:
            before = len(server.asked)
            enough = before + choice.randint(1, 8)
            while process.poll() is None and (attempt >= 3 or len(server.asked) < enough):
                time.sleep(0.002)
            process.send_signal(signal.SIGKILL)
            code = process.wait()
        if code == 0:
            break
    assert code == 0
    assert shard_path(tmp_path / "out" / "responses", 0, 2).read_bytes() == expected
    assert (tmp_path / "out" / "manifests" / "00000-of-00002.json").is_file()


def test_two_runs_that_share_a_shard_ask_for_each_sample_once(tmp_path, server):
    server.delay = 0.05
    pods = []
    for run_name in ("one", "two"):
        task = make_task(tmp_path, server.url, concurrency=2).model_copy(update={"run": run_name})
        (tmp_path / f"{run_name}.json").write_text(encode_task(task))
        environment = os.environ | {
            "FUSIONRUN_TASK": str(tmp_path / f"{run_name}.json"),
            "FUSIONRUN_TERMINATION": str(tmp_path / f"{run_name}.termination"),
            "FUSIONRUN_POD_UID": f"pod-{run_name}",
            "JOB_COMPLETION_INDEX": "0",
            "PYTHONPATH": os.pathsep.join(sys.path),
        }
        pods.append(subprocess.Popen([sys.executable, "-m", "fusionrun_stages", "generate"], env=environment))
    assert [pod.wait(60) for pod in pods] == [0, 0]
    told = [decode_result((tmp_path / f"{run_name}.termination").read_text()) for run_name in ("one", "two")]
    assert sorted(result.cached for result in told) == [False, True]
    assert sum(body["n"] for _, _, body in server.asked) == TOTAL
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["manifests", "parts", "responses"]
