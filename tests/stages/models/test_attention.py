"""Models with attention soft-capping (Gemma 2) in training, promote and score."""

import pytest
import torch
import transformers
import trl

from fusionrun.api.tasks.training import DpoParameters, SftParameters
from fusionrun_stages import promote
from fusionrun_stages.models.attention import attention_of, training_attention
from fusionrun_stages.promote import HeldOutPair
from fusionrun_stages.reward.model import LoadedRewardModel
from fusionrun_stages.training.arguments import shared_arguments
from fusionrun_stages.training.rows import load_rows, load_tokenizer
from fusionrun_stages.training.tokens import split_conversation
from support import tiny_llama
from support.tiny_llama import message, train_parameters

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")

CAP = 0.5
"""Low enough, for these weights, to change the logits."""
IDS = torch.tensor([[0, *range(3, 40)]])


def make_gemma(folder, cap=CAP, kind="Gemma2ForCausalLM"):
    config = {
        "query_pre_attn_scalar": 32, "sliding_window": 64, "attn_logit_softcapping": cap, "initializer_range": 0.5,
        "num_labels": 1,
    }  # fmt: skip
    return tiny_llama.make_model(folder, kind, config=config)


def load(folder, **arguments):
    return transformers.AutoModelForCausalLM.from_pretrained(folder, dtype="float32", **arguments).eval()


def logits(folder, **arguments):
    with torch.inference_mode():
        return load(folder, **arguments)(input_ids=IDS).logits


@pytest.fixture(scope="module")
def gemma(tmp_path_factory):
    return make_gemma(tmp_path_factory.mktemp("gemma"))


def test_the_chosen_attention_applies_soft_capping_and_the_default_does_not(gemma, tmp_path):
    chosen, eager = logits(gemma, **attention_of(gemma)), logits(gemma, attn_implementation="eager")
    default = logits(gemma)
    assert torch.equal(chosen, eager)
    assert (chosen - default).abs().max() > 0.1
    # Without a cap both give the same logits, so the difference above is the cap.
    uncapped = make_gemma(tmp_path, cap=None)
    assert attention_of(uncapped) == {}
    torch.testing.assert_close(logits(uncapped), logits(uncapped, attn_implementation="eager"), rtol=0, atol=1e-4)
    torch.testing.assert_close(logits(uncapped), default, rtol=0, atol=1e-4)


@pytest.mark.parametrize(
    ("precision", "flash", "attention"),
    [("bf16", True, "flash_attention_2"), ("bf16", False, "eager"), ("fp32", True, "eager")],
)
def test_training_with_soft_capping_uses_flash_attention_or_eager(gemma, precision, flash, attention):
    assert training_attention(gemma, precision, flash=flash) == {"attn_implementation": attention}


def test_a_model_without_soft_capping_keeps_the_default(tmp_path):
    assert attention_of(tiny_llama.make_model(tmp_path)) == {}


@pytest.mark.parametrize("kind", ["sft", "dpo"])
def test_trainers_load_policy_and_reference_model_with_eager_attention(gemma, tmp_path, kind):
    parameters = (SftParameters if kind == "sft" else DpoParameters)(
        **train_parameters(kind, gemma, tmp_path / "rows.parquet", zeroStage=0)
    )
    arguments = shared_arguments(parameters, 1, tmp_path, cuda=False)
    if kind == "sft":
        tiny_llama.write_sft(tmp_path / "rows.parquet")
        columns, trainer_class, config = ["messages"], trl.SFTTrainer, trl.SFTConfig(**arguments)
    else:
        tiny_llama.write_pairs(tmp_path / "rows.parquet")
        columns, trainer_class, config = ["prompt", "chosen", "rejected"], trl.DPOTrainer, trl.DPOConfig(**arguments)
    trainer = trainer_class(
        model=parameters.model_path,
        args=config,
        train_dataset=load_rows(parameters.data_path, columns, tmp_path),
        processing_class=load_tokenizer(parameters.model_path),
    )
    models = [trainer.model, trainer.ref_model] if kind == "dpo" else [trainer.model]
    assert [model.config._attn_implementation for model in models] == ["eager"] * len(models)


def test_promote_uses_eager_attention(gemma):
    tokenizer = tiny_llama.make_tokenizer()
    sides = [
        split_conversation(tokenizer, message("user", "3+4=?"), message("assistant", text)) for text in ("7", "eight")
    ]
    ((chosen, rejected),) = promote._log_probabilities(str(gemma), [HeldOutPair(*sides)], lambda _: None, cuda=False)

    def by_hand(side, **arguments):
        ids = torch.tensor([side.prompt + side.completion])
        with torch.inference_mode():
            found = load(gemma, **arguments)(input_ids=ids).logits[0, :-1].log_softmax(-1)
        start = len(side.prompt) - 1
        return float(found.gather(1, ids[0, 1:, None])[start:].sum())

    capped = [by_hand(side, attn_implementation="eager") for side in sides]
    assert [chosen, rejected] == pytest.approx(capped, abs=1e-3)
    assert [chosen, rejected] != pytest.approx([by_hand(side) for side in sides], abs=1e-2)


def test_a_reward_model_uses_eager_attention(tmp_path):
    path = make_gemma(tmp_path, kind="Gemma2ForSequenceClassification")
    assert LoadedRewardModel(str(path), "cpu", trust_remote_code=False)._model.config._attn_implementation == "eager"
