"""sft on two processes: loss, saved model, resume after a kill."""

import json

import pytest
from transformers import AutoModelForCausalLM, AutoTokenizer

from fusionrun.api.results.result import Outcome
from fusionrun.api.stage import TemplateName
from fusionrun.api.tasks.chat_templates import TEMPLATES
from fusionrun.api.tasks.training import SftParameters
from fusionrun_stages.fit.sizes import checkpoint_bytes
from fusionrun_stages.training.disk import parameter_count
from support import tiny_llama
from support.event_files import scalars
from support.tiny_llama import LAST_DIGIT, StagePod, train_parameters
from support.tokenizers import tokenizer_of

STEPS = 14
"""Two epochs of 100 rows with 16 per step."""


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sft")
    tiny_llama.make_model(folder / "model")
    tiny_llama.write_sft(folder / "sft.parquet", long_rows=2, quoting=True)
    return folder


def start(inputs, name, processes=2, **changed):
    return StagePod(
        inputs / name, train_parameters("sft", inputs / "model", inputs / "sft.parquet", **changed), processes
    )


@pytest.fixture(scope="module")
def uninterrupted(inputs):
    pod = start(inputs, "uninterrupted")
    assert pod.wait() == 0, pod.text
    return pod


def test_the_loss_decreases_and_rows_and_tokens_are_counted(uninterrupted):
    result, manifest = uninterrupted.result, uninterrupted.manifest
    assert result.outcome is Outcome.SUCCEEDED
    assert result.values.steps == STEPS
    assert (result.values.rows, result.values.dropped_long) == (100, 2)
    assert manifest["details"]["unusable_rows"] == {"special_tokens": len(tiny_llama.QUOTING)}
    assert "sft: dropped {'special_tokens': 5} of 107 rows; the first is row 0" in uninterrupted.text
    # <bos><user>3+5=?<eot><assistant>8<eot>: five special tokens and the bytes.
    bytes_per_epoch = sum(len(f"{a}+{b}=?{a + b}") for a, b in tiny_llama.SUMS)
    assert result.values.tokens == 2 * (bytes_per_epoch + 5 * 100)
    assert result.values.last_loss < result.values.first_loss - 0.5
    assert len(manifest["details"]["losses"]) == STEPS


@pytest.mark.parametrize(
    ("processes", "changed"),
    [
        (0, {"zeroStage": 0}),
        (2, {"zeroStage": 1}),
        (2, {"zeroStage": 2}),
        (2, {"zeroStage": 2, "offload": "Optimizer"}),
        (2, {"zeroStage": 3, "offload": "Optimizer"}),
    ],
    ids=["one-process", "zero-1", "zero-2", "zero-2-offload", "zero-3-offload"],
)
def test_the_losses_do_not_depend_on_where_the_state_is(inputs, uninterrupted, request, processes, changed):
    pod = start(inputs, request.node.callspec.id, processes, **changed)
    assert pod.wait() == 0, pod.text
    # The last step of an epoch has 4 rows. For two processes, rows are repeated so that both have a micro-batch.
    first, expected = (p.manifest["details"]["losses"][: STEPS // 2 - 1] for p in (pod, uninterrupted))
    assert first == pytest.approx(expected, abs=LAST_DIGIT)


def test_with_lora_the_saved_model_is_the_merged_one(inputs):
    pod = start(inputs, "lora", lora={"rank": 8}, learningRate=1e-2, zeroStage=2)
    assert pod.wait() == 0, pod.text
    assert "107,200 parameters, 16,384 trained" in pod.text
    folder = pod.output / "model"
    names = ["chat_template.jinja", "config.json", "generation_config.json", "model.safetensors"]
    assert sorted(path.name for path in folder.iterdir()) == [*names, "tokenizer.json", "tokenizer_config.json"]
    merged, base = (AutoModelForCausalLM.from_pretrained(path).state_dict() for path in (folder, inputs / "model"))
    assert merged.keys() == base.keys()
    changed = {name for name, value in merged.items() if not value.equal(base[name])}
    assert changed == {name for name in base if "proj" in name}
    assert json.loads((folder / "generation_config.json").read_text())["eos_token_id"] == [1]
    assert pod.result.values.last_loss < pod.result.values.first_loss - 0.3


def test_the_saved_model_loads_and_stops_at_the_end_of_turn(uninterrupted):
    folder = uninterrupted.output / "model"
    model = AutoModelForCausalLM.from_pretrained(folder)
    assert str(model.dtype) == "torch.float32"
    assert AutoTokenizer.from_pretrained(folder).chat_template
    assert json.loads((folder / "generation_config.json").read_text())["eos_token_id"] == [1]
    assert sorted(p.name for p in uninterrupted.output.iterdir()) == ["finished.json", "manifest.json", "model"]
    assert "training_args.bin" not in {p.name for p in folder.iterdir()}


def test_a_kill_during_a_checkpoint_resumes_from_the_previous_one(inputs, uninterrupted):
    pod = start(inputs, "incomplete")
    newest = pod.output / "checkpoints/checkpoint-8"
    assert pod.kill_rank(0, newest.is_dir) != 0
    assert pod.result is None or not pod.result.user_error
    assert not (pod.output / "manifest.json").exists()
    if (newest / "whole.json").exists():  # the write was faster than the kill
        (newest / "whole.json").unlink()
    kept = pod.output / "checkpoints/checkpoint-4"
    size = sum(path.stat().st_size for path in kept.rglob("*") if path.suffix in (".pt", ".safetensors"))
    count = parameter_count(inputs / "model")
    parameters = SftParameters.model_validate(train_parameters("sft", inputs / "model", inputs / "sft.parquet"))
    assert checkpoint_bytes(parameters, count) == pytest.approx(size, rel=0.1)
    again = start(inputs, "incomplete")
    assert again.wait() == 0, again.text
    assert again.manifest["details"]["resumed_from"].endswith("checkpoint-4")
    assert "removed ['checkpoint-8']" in again.text
    assert again.manifest["details"]["losses"] == uninterrupted.manifest["details"]["losses"]


def test_a_target_gets_the_template_of_the_recipe_and_tensorboard_the_numbers(inputs):
    model = tiny_llama.make_model(inputs / "llama 3", tokenizer=tokenizer_of("llama 3"))
    changed = {"chatTemplate": "llama3", "reportTo": ["TensorBoard"], "zeroStage": 0, "epochs": 0.5}
    pod = StagePod(inputs / "recipe", train_parameters("sft", model, inputs / "sft.parquet", **changed), processes=0)
    assert pod.wait() == 0, pod.text
    saved, own = AutoTokenizer.from_pretrained(pod.output / "model"), tokenizer_of("llama 3")
    assert saved.chat_template == TEMPLATES[TemplateName.LLAMA_3] != own.chat_template
    ends = json.loads((pod.output / "model/generation_config.json").read_text())["eos_token_id"]
    assert own.convert_tokens_to_ids("<|eot_id|>") in ends
    (file,) = (pod.output / "logs/tensorboard").iterdir()
    expected = dict(enumerate(pod.manifest["details"]["losses"], start=1))
    assert scalars(file, "train/loss") == pytest.approx(expected, abs=1e-4)


def test_an_indivisible_batch_size_is_a_user_error_on_every_rank(inputs):
    pod = start(inputs, "batch", globalBatchSize=12)
    assert pod.wait() != 0
    assert pod.result.user_error
    assert "training.sft.globalBatchSize: 12" in pod.result.message


def test_a_template_without_end_of_turn_is_a_user_error(inputs):
    bad = tiny_llama.make_model(inputs / "endless", template=tiny_llama.TEMPLATE.replace("+ '<eot>'", ""))
    parameters = train_parameters("sft", bad, inputs / "sft.parquet", zeroStage=0)
    pod = StagePod(inputs / "template", parameters, processes=0)
    assert pod.wait() == 2, pod.text
    assert pod.result.user_error
    assert "chat template of target.model" in pod.result.message


def test_if_every_row_quotes_a_special_token_the_error_says_so(inputs):
    rows = [
        {"messages": tiny_llama.message("user", q) + tiny_llama.message("assistant", a)} for q, a in tiny_llama.QUOTING
    ]
    data = tiny_llama.write_rows(inputs / "quoting.parquet", rows)
    pod = StagePod(inputs / "quoting", train_parameters("sft", inputs / "model", data, zeroStage=0), processes=0)
    assert pod.wait() == 2, pod.text
    assert "sft: all 5 rows are unusable: {'special_tokens': 5}" in pod.result.message
