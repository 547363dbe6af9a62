"""The rewards that DPO logs are those of the trained objective."""

import math

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer
from trl import DPOConfig

from fusionrun_stages.promote import HeldOutPair, evaluate_margins, log_ratio_margins
from fusionrun_stages.training.objective import ObjectiveDPOTrainer, normalized_rewards
from fusionrun_stages.training.rows import load_rows
from fusionrun_stages.training.tokens import split_conversation
from support import tiny_llama


def test_rewards_are_divided_by_the_number_of_tokens_of_each_side():
    # Two pairs of rows with five tokens, of which 2, 1 (chosen) and 4, 2 (rejected) are of the completion.
    mask = torch.tensor([[0, 0, 0, 1, 1], [0, 0, 0, 0, 1], [0, 1, 1, 1, 1], [0, 0, 0, 1, 1]])
    policy = torch.tensor([[0, 0, -1.0, -1.0], [0, 0, 0, -3.0], [-1.0, -1, -1, -1], [0, 0, -2.0, -2.0]])
    reference = torch.tensor([[0, 0, -2.0, -2.0], [0, 0, 0, -3.0], [-2.0, -2, -2, -2], [0, 0, -1.0, -1.0]])
    assert normalized_rewards(policy, reference, mask, 10.0).tolist() == [[10.0, 10.0], [0.0, -10.0]]


@pytest.mark.parametrize("normalized", [True, False])
def test_the_logged_rewards_are_those_of_the_loss_and_of_promote(tmp_path, normalized):
    """One pair per batch: the loss is then -log sigmoid(margin), with the margin that is logged and promote's."""
    folder = tiny_llama.make_model(tmp_path / "model", config={"initializer_range": 0.3})
    other = tiny_llama.make_model(tmp_path / "other", config={"initializer_range": 0.31})
    pairs = load_rows(
        str(tiny_llama.write_pairs(tmp_path / "pairs.parquet", count=4)), ["prompt", "chosen", "rejected"], tmp_path
    )
    tokenizer = AutoTokenizer.from_pretrained(folder)
    config = DPOConfig(
        output_dir=str(tmp_path / "out"), loss_type=["sigmoid_norm" if normalized else "sigmoid"], beta=0.5,
        use_cpu=True, bf16=False, max_length=None, per_device_train_batch_size=1, report_to="none",
        gradient_checkpointing=False, model_init_kwargs={"dtype": "float32"},
    )  # fmt: skip
    trainer = ObjectiveDPOTrainer(
        model=str(folder),
        ref_model=AutoModelForCausalLM.from_pretrained(other),
        args=config,
        train_dataset=pairs,
        processing_class=tokenizer,
    )
    trainer.model.eval()
    logged = trainer._metrics["eval"]
    for row in pairs:
        prepared = next(
            r for r in trainer.train_dataset if r["chosen"] == row["chosen"] and r["prompt"] == row["prompt"]
        )
        inputs = trainer.data_collator([prepared])
        with torch.no_grad():
            loss = float(trainer._compute_loss(trainer.model, inputs, False))
        margin, accuracy = logged["rewards/margins"][-1], logged["rewards/accuracies"][-1]
        assert margin == pytest.approx(logged["rewards/chosen"][-1] - logged["rewards/rejected"][-1], abs=1e-5)
        assert loss == pytest.approx(math.log1p(math.exp(-margin)), abs=1e-5)
        assert accuracy == float(margin > 0)
        pair = HeldOutPair(
            *(split_conversation(tokenizer, row["prompt"], row[side]) for side in ("chosen", "rejected"))
        )
        sums = [log_sums(model, pair) for model in (trainer.model, trainer.ref_model)]
        (expected,) = log_ratio_margins(*([s] for s in sums), [pair], length_normalized=normalized)
        assert margin == pytest.approx(0.5 * expected, abs=1e-4)
        held_out = evaluate_margins([expected], 0.5)
        assert (held_out.accuracy, held_out.loss) == (accuracy, pytest.approx(loss, abs=1e-5))


def log_sums(model, pair):
    """Return the summed log-probabilities of both sides by a plain forward pass of transformers."""
    sums = []
    for side in pair:
        ids = torch.tensor([side.prompt + side.completion])
        with torch.no_grad():
            logits = model(input_ids=ids, use_cache=False).logits[0, :-1].double().log_softmax(dim=-1)
        taken = logits.gather(1, ids[0, 1:, None])[:, 0]
        sums.append(float(taken[len(side.prompt) - 1 :].sum()))
    return tuple(sums)
