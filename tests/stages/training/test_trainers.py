"""The trainers of sft and dpo against plain TRL on the same rows: order of rows, padding, losses."""

import pytest
import torch
from accelerate.data_loader import SeedableRandomSampler
from datasets import load_dataset
from transformers import AutoModelForCausalLM, AutoTokenizer

from fusionrun.api.tasks.training import DpoParameters, SftParameters
from fusionrun_stages.models.padding import drop_padding_mask
from fusionrun_stages.training import ranks, trainers
from fusionrun_stages.training.order import SortedSteps
from support import plain_trl, tiny_llama
from support.tiny_llama import message, train_parameters

STEPS = 5
ANSWERS = [f"{a} and {b} " * (1 + (a * b) % 9) for a in range(3, 13) for b in range(5, 15)]
"""Answers of 7 to 80 tokens, so that a micro-batch has much padding."""


@pytest.fixture(scope="module", autouse=True)
def process_group():
    ranks.join_process_group(0, cuda=False)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return tiny_llama.make_model(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def rows(tmp_path_factory):
    folder = tmp_path_factory.mktemp("rows")
    prompt = message("user", "Which numbers?")
    sft = [{"prompt": prompt, "completion": message("assistant", answer)} for answer in ANSWERS]
    pairs = [
        {"prompt": prompt, "chosen": message("assistant", answer), "rejected": message("assistant", answer[::-1])}
        for answer in ANSWERS
    ]
    paths = {kind: tiny_llama.write_rows(folder / kind, data) for kind, data in (("sft", sft), ("dpo", pairs))}
    return {kind: load_dataset("parquet", data_files=str(path), split="train") for kind, path in paths.items()}


def losses(trainer):
    trainer.train()
    return plain_trl.losses(trainer)


def ours(kind, model, rows, folder, **config):
    """Return a trainer as sft and dpo make it, with the lengths of the rows."""
    parameters = train_parameters(kind, model, "rows.parquet", zeroStage=0)
    if kind == "sft":
        parsed = SftParameters.model_validate(parameters)
        make_config, make = trainers.sft_config, trainers.sft_trainer
    else:
        parsed = DpoParameters.model_validate(parameters)
        make_config, make = trainers.dpo_config, trainers.dpo_trainer
    arguments = make_config(parsed, folder, cuda=False, max_steps=STEPS, save_strategy="no", **config)
    trainer = make(parsed, arguments, rows[kind], AutoTokenizer.from_pretrained(model), [])
    columns = ["input_ids"] if kind == "sft" else ["prompt_ids", "chosen_ids"]
    trainer.row_lengths = [sum(len(row[column]) for column in columns) for row in trainer.train_dataset]
    return trainer


def plain(kind, model, rows, folder):
    rate = {"sft": 1e-3, "dpo": 1e-4}
    batch = {"per_device_train_batch_size": 4, "gradient_accumulation_steps": 4, "max_steps": STEPS}
    return plain_trl.make_trainer(kind, model, rows[kind], folder, learning_rate=rate[kind], **batch)


@pytest.fixture(scope="module")
def plain_losses(model, rows, tmp_path_factory):
    return {kind: losses(plain(kind, model, rows, tmp_path_factory.mktemp("plain"))) for kind in ("sft", "dpo")}


@pytest.mark.parametrize(
    ("kind", "config"),
    [
        ("sft", {}),
        ("sft", {"padding_free": True}),
        ("sft", {"padding_free": True, "model_init_kwargs": {"dtype": "float32", "attn_implementation": "eager"}}),
        ("dpo", {}),
    ],
    ids=["sft", "sft-padding-free", "sft-padding-free-eager", "dpo"],
)
def test_the_losses_are_those_of_plain_trl(kind, config, model, rows, plain_losses, tmp_path):
    assert losses(ours(kind, model, rows, tmp_path, **config)) == pytest.approx(plain_losses[kind], abs=1e-5)


def test_several_processes_can_tokenize(model, rows, tmp_path, monkeypatch):
    alone = ours("sft", model, rows, tmp_path)
    monkeypatch.setattr(trainers, "PARALLEL_ROWS", 10)
    monkeypatch.setattr(trainers, "count_cpus", lambda: 2)
    together = ours("sft", model, rows, tmp_path)
    assert (alone.args.dataset_num_proc, together.args.dataset_num_proc) == (None, 2)
    assert together.train_dataset["input_ids"] == alone.train_dataset["input_ids"]


@pytest.mark.parametrize("kind", ["sft", "dpo"])
def test_a_micro_batch_has_little_padding(kind, model, rows, tmp_path):
    shares = []
    for trainer in (plain(kind, model, rows, tmp_path), ours(kind, model, rows, tmp_path)):
        masks = [batch["attention_mask"] for batch in trainer.get_train_dataloader()]
        shares.append(1 - sum(int(mask.sum()) for mask in masks) / sum(mask.numel() for mask in masks))
    assert shares[1] < shares[0] / 2


def test_a_row_is_the_same_with_and_without_a_mask_of_its_padding(model):
    network = AutoModelForCausalLM.from_pretrained(model, attn_implementation="sdpa").eval()
    ids = torch.randint(6, 200, (3, 40), generator=torch.Generator().manual_seed(0))
    mask = torch.ones_like(ids)
    for row, length in enumerate((40, 17, 3)):
        mask[row, length:] = 0
    with torch.inference_mode():
        masked = network(input_ids=ids, attention_mask=mask).logits
        drop_padding_mask(network)
        unmasked = network(input_ids=ids, attention_mask=mask).logits
    torch.testing.assert_close(unmasked[mask.bool()], masked[mask.bool()], atol=1e-5, rtol=0)
    assert not torch.allclose(unmasked[~mask.bool()], masked[~mask.bool()], atol=1e-3), "the mask was not dropped"


@pytest.mark.parametrize("epoch", [0, 3])
def test_a_step_has_the_rows_of_the_random_order_longest_first(epoch):
    lengths = [(7 * i) % 31 for i in range(70)]
    order, random = SortedSteps(lengths, 16, seed=5), SeedableRandomSampler(range(70), data_seed=5)
    order.set_epoch(epoch)
    random.set_epoch(epoch)
    ours, theirs = list(order), list(random)
    for start in range(0, 70, 16):
        step = ours[start : start + 16]
        assert sorted(step) == sorted(theirs[start : start + 16])
        assert [lengths[row] for row in step] == sorted((lengths[row] for row in step), reverse=True)
