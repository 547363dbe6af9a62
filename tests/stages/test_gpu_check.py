"""``hack/gpu/check``: its parts run on CPUs with tiny models, and without a GPU it says so."""

import json
import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from gpu import parts
from gpu.check import table
from gpu.device import Device
from gpu.parts import Check, Failed, Part, Result, read_bench, run_part
from gpu.scoring import LIMITS, Report, rates
from gpu.training import Trained, compare, flops_per_token

ROOT = Path(__file__).parents[2]


def check_gpu(*arguments: str) -> subprocess.CompletedProcess:
    # Other tests of this process have set the address of their process group.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MASTER_")}
    environment |= {"PYTHON": sys.executable, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    command = [str(ROOT / "hack" / "gpu" / "check"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, env=environment)


def make_check(folder: Path, seconds: float = 60) -> Check:
    return Check(Device("CPU", 0, "2", 0.0), cuda=False, tiny=True, folder=folder, deadline=time.monotonic() + seconds)


def test_without_a_gpu_it_says_so_and_exits_3():
    done = check_gpu()
    assert done.returncode == 3
    assert "no GPU" in done.stdout
    assert "Nothing was checked" in done.stdout


def test_training_and_scoring_run_with_tiny_models(tmp_path):
    done = check_gpu(
        "--device", "cpu", "--tiny", "--seconds", "1800", "--parts", "sft", "dpo-zero3", "score", "--out", str(tmp_path)
    )
    assert done.returncode == 0, done.stdout + done.stderr
    results = {result["part"]: result for result in json.loads((tmp_path / "report.json").read_text())["results"]}
    assert {name: result["state"] for name, result in results.items()} == dict.fromkeys(
        ("sft", "dpo-zero3", "score"), "ok"
    )
    assert results["dpo-zero3"]["figures"]["first_loss"] == pytest.approx(0.6931, abs=1e-3)
    for name in ("sft", "dpo-zero3"):
        assert results[name]["figures"]["largest_loss_difference"] < 1e-4
        assert results[name]["figures"]["tokens_per_second"] > 0
        assert results[name]["figures"]["expected_gib"] > 0
    assert results["score"]["figures"]["tokens_per_second"] > results["score"]["figures"]["responses_per_second"] > 0
    assert results["score"]["figures"]["largest_difference_from_float32"] < 1e-5


@pytest.mark.parametrize(
    ("plain", "problem"),
    [
        ([2.0, 1.0], ""),
        ([2.0, 1.1], "the losses differ"),
        ([2.0], "the stage made 2 steps, TRL 1"),
        ([2.0, float("nan")], "the losses are not finite"),
    ],
)
def test_a_stage_whose_losses_are_not_those_of_trl_fails(plain, problem):
    _, found = compare(Trained([0, 1], [2.0, 1.0], 1), Trained([0, 2], plain, 1))
    assert found.startswith(problem)
    assert bool(found) == bool(problem)


def test_the_flops_of_dpo_include_the_reference_model_and_those_of_scores_no_backward_pass():
    sft = flops_per_token("sft", 10, 2, 3, 5)
    assert sft == 6 * 10 + 12 * 2 * 3 * 5
    assert flops_per_token("dpo", 10, 2, 3, 5) == pytest.approx(sft + sft / 3)
    assert flops_per_token("score", 10, 2, 3, 5) == pytest.approx(2 * 10 + 4 * 2 * 3 * 5)


@pytest.mark.parametrize(
    ("reports", "seconds", "counted"),
    [
        ([(0, 0), (5, 1), (7, 3), (9, 4)], 4, [30, 20, 10]),  # the first batch has the longest
        ([(1, 0), (5, 4)], 4, [40, 30, 20, 10]),
        ([(1, 0)], float("inf"), [40, 30, 20, 10]),
    ],
)
def test_the_rates_of_scores_leave_out_the_first_batch_if_there_are_others(reports, seconds, counted):
    config = {"vocab_size": 50, "hidden_size": 4, "num_hidden_layers": 3}
    found = rates([Report(*each) for each in reports], [10, 40, 20, 30], config, 1200)
    # 2 FLOPs for each of the 1,000 parameters that are not embeddings, and 4 x 3 layers x 4 x length for attention
    flops = sum(length * (2 * 1000 + 4 * 3 * 4 * length) for length in counted)
    assert [found.responses, found.tokens, found.flops] == pytest.approx(
        [total / seconds for total in (len(counted), sum(counted), flops)]
    )


def test_the_mfu_of_scores_is_relative_to_the_matrix_product(tmp_path, monkeypatch):
    def call(_self, *command):
        result = {"figures": {"tokens_per_second": 7.0}, "flops": 30.0, "problem": ""}
        Path(command[2], "result.json").write_text(json.dumps(result))

    monkeypatch.setattr(Check, "call", call)
    for peak, expected in ((120.0, {"mfu": 0.25}), (0.0, {})):
        folder = tmp_path / str(peak)
        folder.mkdir()
        check = replace(make_check(folder), device=Device("GPU", 0, "2", peak))
        assert parts.score(check) == {"tokens_per_second": 7.0} | expected


def test_scores_are_made_with_the_limits_of_a_run():
    assert (LIMITS.batch_size, LIMITS.max_batch_tokens, LIMITS.max_length) == (16, 16_384, 4096)


def test_a_part_without_its_packages_is_skipped_and_names_them(tmp_path):
    part = Part("p", ("json", "no_such_package"), lambda _: pytest.fail("must not run"))
    result = run_part(part, make_check(tmp_path))
    assert (result.state, result.message) == ("skipped", "not installed: no_such_package")


def test_a_part_that_finds_no_time_is_skipped(tmp_path):
    result = run_part(Part("p", (), lambda _: pytest.fail("must not run")), make_check(tmp_path, seconds=-1))
    assert result.state == "skipped"
    assert "no time left" in result.message


def test_a_part_that_exceeds_the_time_fails(tmp_path):
    part = Part("p", (), lambda check: {"n": float(check.call("-c", "import threading; threading.Event().wait()"))})
    result = run_part(part, make_check(tmp_path, seconds=0.5))
    assert (result.state, result.message) == ("failed", "the time was over")


def test_a_part_whose_program_fails_shows_the_end_of_its_output(tmp_path):
    part = Part("p", (), lambda check: {"n": float(check.call("-c", "raise SystemExit('out of memory')"))})
    result = run_part(part, make_check(tmp_path))
    assert result.state == "failed"
    assert "out of memory" in result.message


def test_the_figures_of_the_vllm_benchmark_are_read_from_its_output():
    output = (
        "median of 2, fusionrun: 990.0 tokens per second, slots busy 99.0%\n"
        "median of 2, seeded: 1000.0 tokens per second, slots busy 98.0%\n"
    )
    assert read_bench(output)["speed_of_vllm_bench"] == pytest.approx(0.99)
    with pytest.raises(Failed, match="no medians"):
        read_bench("the server exited with 1")


def test_the_table_has_a_row_per_figure_and_the_reasons():
    text = table([Result("sft", "ok", {"a_b": 1.5, "c": 2.0}, seconds=3), Result("vllm", "skipped", message="why")])
    assert "| sft | ok | 3 | a b | 1.5 |" in text
    assert "vllm: why" in text


def test_every_part_has_its_own_name():
    assert len({part.name for part in parts.PARTS}) == len(parts.PARTS)
