"""The code that sft and dpo share: batch arithmetic, checkpoints, training tokens, errors."""

import json
import re
from types import SimpleNamespace

import pytest
from transformers import GenerationConfig

from fusionrun.api.results.values import Trained
from fusionrun.api.spec.mutable import SPEC_FIELDS, mutable_paths
from fusionrun.api.spec.training import Offload
from fusionrun.api.stage import StageKind
from fusionrun.api.tasks.training import DpoParameters, SftParameters
from fusionrun_stages.errors import InfrastructureError, UserError
from fusionrun_stages.fit.sizes import states
from fusionrun_stages.training import checkpoints, ranks
from fusionrun_stages.training.arguments import optimizer
from fusionrun_stages.training.finish import read_finished, stop_at_every_end_of_turn, write_finished
from fusionrun_stages.training.tokens import Tokens, check_tokens, drop_long, split_conversation
from fusionrun_stages.training.zero import gradient_accumulation_steps, zero_config
from fusionrun_stages.work import Made
from support import tiny_llama
from support.tiny_llama import train_parameters


def make_checkpoint(folder, step, world_size=2, *, complete=True):
    path = folder / f"checkpoint-{step}"
    (path / f"global_step{step}").mkdir(parents=True)
    model = "model.safetensors config.json tokenizer.json generation_config.json chat_template.jinja"
    state = f"global_step{step}/shard.pt rng_state_0.pth scheduler.pt trainer_state.json training_args.bin latest"
    for name in f"{model} {state} README.md zero_to_fp32.py zero_to_torch.py".split():
        (path / name).write_text("x")
    if complete:
        checkpoints.mark_complete(path, world_size)
    return path


def parameters_of(kind, global_batch_size, micro_batch_size):
    changed = {"globalBatchSize": global_batch_size, "microBatchSize": micro_batch_size}
    return {"sft": SftParameters, "dpo": DpoParameters}[kind](**train_parameters(kind, "m", "d", **changed))


def test_train_batch_is_micro_batch_times_accumulation_times_processes():
    assert gradient_accumulation_steps(parameters_of("sft", 128, 2), 8) == 8


def test_the_error_of_an_indivisible_batch_names_the_fields():
    with pytest.raises(UserError, match=r"training\.dpo\.globalBatchSize: 100: .* 3 x 8 = 24"):
        gradient_accumulation_steps(parameters_of("dpo", 100, 3), 8)


def test_the_deepspeed_configuration_follows_the_zero_stage_and_the_precision():
    assert zero_config(0, "bf16", cuda=True) is None
    config = zero_config(3, "bf16", cuda=False)
    assert config["zero_optimization"]["stage3_gather_16bit_weights_on_model_save"] is True
    assert config["bf16"] == {"enabled": True}
    assert config["data_types"] == {"grad_accum_dtype": "fp32"}
    assert zero_config(2, "fp32", cuda=False)["bf16"] == {"enabled": False}


@pytest.mark.parametrize(("stage", "cuda"), [(2, False), (2, True), (3, False), (3, True)])
def test_only_zero_3_on_gpus_overlaps_communication(stage, cuda):
    assert zero_config(stage, "bf16", cuda=cuda)["zero_optimization"]["overlap_comm"] is (stage == 3 and cuda)


@pytest.mark.parametrize("cuda", [False, True])
def test_an_offloaded_optimizer_is_torchs(cuda):
    config = zero_config(2, "bf16", Offload.OPTIMIZER, cuda=cuda)
    assert config["zero_optimization"]["offload_optimizer"] == {"device": "cpu", "pin_memory": cuda}
    assert config["zero_force_ds_cpu_optimizer"] is False


@pytest.mark.parametrize(
    ("offload", "cuda", "name"),
    [(None, False, "adamw_torch"), (None, True, "adamw_torch_fused"), (Offload.OPTIMIZER, False, "adamw_torch_fused")],
)
def test_the_optimizer_is_fused_on_gpus_and_if_it_is_offloaded(offload, cuda, name):
    assert optimizer(offload, cuda=cuda) == name


def memory(reference=False, total=1000, trained=1000, **changed):
    parameters = SftParameters(**train_parameters("sft", "m", "d", **{"precision": "bf16"} | changed))
    return states(parameters, total, trained, 8, reference=reference).total


@pytest.mark.parametrize(
    ("per_parameter", "changed"),
    [
        (16, {"zeroStage": 0}),
        (2 + 4 + 12 / 8, {"zeroStage": 1}),
        (2 + 4 / 8 + 12 / 8, {"zeroStage": 2}),
        (18 / 8, {"zeroStage": 3}),
        (2, {"zeroStage": 2, "offload": "Optimizer"}),
        (2 + 2 + 4 / 8 + 12 / 8, {"zeroStage": 2, "reference": True}),
        (2 + (4 / 8 + 12 / 8) / 10, {"zeroStage": 2, "trained": 100, "lora": {"rank": 8}}),
        (16, {"zeroStage": 0, "precision": "fp32"}),
    ],
)
def test_the_memory_is_that_of_the_zero_paper(per_parameter, changed):
    assert memory(**changed) == pytest.approx(1000 * per_parameter)


def test_an_incomplete_checkpoint_is_ignored_and_removed(tmp_path):
    make_checkpoint(tmp_path, 4)
    make_checkpoint(tmp_path, 8)
    make_checkpoint(tmp_path, 12, complete=False)
    assert list(checkpoints.complete_checkpoints(tmp_path)) == [4, 8]
    assert checkpoints.remove_unusable(tmp_path, 2) == ["checkpoint-12"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["checkpoint-4", "checkpoint-8"]


def test_checkpoints_of_another_world_size_are_removed(tmp_path):
    make_checkpoint(tmp_path, 4, world_size=2)
    assert checkpoints.remove_unusable(tmp_path, 4) == ["checkpoint-4"]


def test_candidates_are_the_last_two_multiples_of_save_steps(tmp_path):
    for step in (300, 400, 500, 501):
        make_checkpoint(tmp_path, step)
    assert list(checkpoints.candidates(tmp_path, 100)) == [400, 500]
    assert checkpoints.candidates(tmp_path, None) == {}


def test_kept_checkpoints_have_the_model_without_training_state(tmp_path):
    for step in (400, 500, 501):
        make_checkpoint(tmp_path, step)
    kept = checkpoints.candidates(tmp_path, 100)
    checkpoints.keep_only(tmp_path, kept)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["checkpoint-400", "checkpoint-500"]
    assert not list(tmp_path.glob("*/global_step*"))
    model = ["chat_template.jinja", "config.json", "generation_config.json", "model.safetensors", "tokenizer.json"]
    assert [path.name for path in checkpoints.model_files(kept[400])] == model
    assert list(checkpoints.candidates(tmp_path, 100)) == [400, 500], "kept for promote"


class Rows(list):
    def select(self, indexes):
        return Rows(self[index] for index in indexes)


def test_long_rows_are_dropped_and_counted():
    assert drop_long(Rows("abc"), [5, 17, 16], 16, "sft") == (["a", "c"], 1)


def test_if_all_rows_are_too_long_the_error_names_the_field():
    with pytest.raises(UserError, match=r"training\.sft\.maxLength: 16: all 2 rows"):
        drop_long(Rows("ab"), [17, 18], 16, "sft")


def test_a_dead_peer_is_an_infrastructure_error_and_a_user_error_is_kept(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(InfrastructureError, match=ranks.LOST_PEER), ranks.explain_torch_errors("sft"):
        raise RuntimeError("[gloo/transport/tcp/pair.cc:547] Connection closed by peer [127.0.0.1]:1234")
    with pytest.raises(UserError, match="mine"), ranks.explain_torch_errors("dpo"):
        raise UserError("mine")


def paths(fields):
    return [path for field in fields for path in (field.path, *paths(field.fields))]


def test_out_of_memory_is_a_user_error_that_says_which_fields_need_a_new_run():
    with pytest.raises(UserError, match="CUDA out of memory") as raised, ranks.explain_torch_errors("dpo"):
        raise RuntimeError("CUDA out of memory. Tried to allocate 20.00 MiB")
    in_this_run, in_a_new_run = (
        set(re.findall(r"(?<!/)training\.[\w.]*\w", part)) for part in str(raised.value).split("create a new run")
    )
    assert len(in_this_run) == 4
    assert in_this_run <= set(mutable_paths())
    assert len(in_a_new_run) == 6
    assert not in_a_new_run & set(mutable_paths())
    assert in_a_new_run <= set(paths(SPEC_FIELDS))


def conversation(answer="7"):
    return tiny_llama.message("user", "3+4=?"), tiny_llama.message("assistant", answer)


@pytest.mark.parametrize("pad", ["<pad>", "<eot>"])
def test_the_loss_covers_answer_and_end_of_turn_even_if_pad_is_eos(pad):
    tokenizer = tiny_llama.make_tokenizer(pad=pad)
    prompt, answer = conversation()
    tokens = split_conversation(tokenizer, prompt, answer)
    assert tokenizer.decode(tokens.prompt) == "<bos><user>3+4=?<eot><assistant>"
    assert tokenizer.decode(tokens.completion) == "7<eot>"
    assert check_tokens(tokenizer, prompt + answer, tokens) == tokenizer.convert_tokens_to_ids("<eot>")


def test_a_template_with_bos_at_each_turn_is_accepted():
    tokenizer = tiny_llama.make_tokenizer(template=tiny_llama.CHATML, bos="<user>", pad="<eot>")
    prompt, answer = conversation()
    tokens = split_conversation(tokenizer, prompt, answer)
    assert tokenizer.decode(tokens.completion) == "7<eot>\n"
    assert check_tokens(tokenizer, prompt + answer, tokens) == tokenizer.convert_tokens_to_ids("<eot>")


@pytest.mark.parametrize(
    ("template", "complaint"),
    [
        ("<bos><bos>{{ messages[-1].content }}<eot>", "BOS"),
        ("<bos>{% for m in messages %}{{ '<bos>' + m.content + '<eot>' }}{% endfor %}", "BOS"),
        ("<bos>{% for m in messages %}{{ '<' + m.role + '>' + m.content }}{% endfor %}", "end-of-turn"),
        ("<bos>{% for m in messages %}{{ m.role + m.content + '<eot>' }}{% endfor %}", "end-of-turn"),
    ],
)
def test_a_template_with_wrong_training_tokens_is_rejected(template, complaint):
    tokenizer = tiny_llama.make_tokenizer(template=template)
    prompt, answer = conversation()
    with pytest.raises(UserError, match=f"chat template.*{complaint}"):
        check_tokens(tokenizer, prompt + answer, split_conversation(tokenizer, prompt, answer))


def test_a_truncated_answer_is_detected():
    tokenizer = tiny_llama.make_tokenizer()
    prompt, answer = conversation("a long answer")
    tokens = split_conversation(tokenizer, prompt, answer)
    with pytest.raises(UserError, match="end-of-turn"):
        check_tokens(tokenizer, prompt + answer, Tokens(tokens.prompt, tokens.completion[:4]))


def test_the_date_of_the_template_is_fixed():
    tokenizer = tiny_llama.make_tokenizer(template="<bos>{{ date_string }}{{ messages[-1].content }}<eot>")
    tokens = split_conversation(tokenizer, *conversation())
    assert "26 Jul 2024" in tokenizer.decode(tokens.prompt + tokens.completion)


def test_every_end_of_turn_token_is_an_eos_token():
    def ends(config, end_of_turn=107):
        model = SimpleNamespace(generation_config=config)
        stop_at_every_end_of_turn(model, SimpleNamespace(eos_token_id=1), end_of_turn)
        model.generation_config.validate(strict=True)
        return model.generation_config.eos_token_id

    assert ends(GenerationConfig()) == [1, 107]
    assert ends(GenerationConfig(eos_token_id=[106, 1])) == [106, 1, 107]
    invalid = GenerationConfig(eos_token_id=[106, 1], do_sample=False, temperature=0.5)
    assert ends(invalid) == [106, 1, 107], "an invalid configuration is replaced; its eos tokens are kept"


def test_a_finished_training_of_any_release_is_read(tmp_path):
    made = Made(
        values=Trained(kind=StageKind.DPO, steps=3, last_loss=0.5),
        files=["a"],
        details={"checkpoints": ["checkpoint-2"]},
    )
    write_finished(tmp_path, made)
    assert read_finished(tmp_path, StageKind.DPO) == made
    written = json.loads((tmp_path / "finished.json").read_text())
    assert (written["counts"]["steps"], written["numbers"]) == (3, {"last_loss": 0.5}), "release 0.2 reads these"
    (tmp_path / "finished.json").write_text(json.dumps(written | {"seconds": 9.5}))
    assert read_finished(tmp_path, StageKind.DPO) == made, "a newer release may have written more"
    del written["values"]
    (tmp_path / "finished.json").write_text(json.dumps(written))
    assert read_finished(tmp_path, StageKind.DPO) == made, "release 0.2 wrote no typed values"
