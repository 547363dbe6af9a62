"""Scores of padded batches: the same without a mask in the language model, which then may use the flash kernel."""

import pytest
import torch

from fusionrun_stages.reward import model as reward_model
from fusionrun_stages.reward.model import LoadedRewardModel
from support.tiny_llama import make_reward_model

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")

WORDS = (1, 9, 30, 4)


@pytest.mark.parametrize("kind", ["Llama", "Qwen2", "Mistral", "Gemma2"])
def test_the_mask_of_the_padding_does_not_change_the_scores(tmp_path, monkeypatch, kind):
    path = str(make_reward_model(tmp_path, kind=f"{kind}ForSequenceClassification"))
    unmasked = LoadedRewardModel(path, "cpu", trust_remote_code=False)
    monkeypatch.setattr(reward_model, "_prepare_language_models", lambda _: None)
    masked = LoadedRewardModel(path, "cpu", trust_remote_code=False)
    batch = [masked.encode("Say it.", "word " * count) for count in WORDS]
    scores = unmasked.score(batch)
    assert scores == pytest.approx(masked.score(batch), abs=2)
    assert len(set(scores)) == len(WORDS)


def test_a_padded_batch_can_use_the_flash_kernel(tmp_path, monkeypatch):
    calls = []
    original = torch.nn.functional.scaled_dot_product_attention

    def spy(*arguments, **named):
        calls.append((named.get("attn_mask"), named.get("is_causal")))
        return original(*arguments, **named)

    monkeypatch.setattr("torch.nn.functional.scaled_dot_product_attention", spy)
    model = LoadedRewardModel(str(make_reward_model(tmp_path)), "cpu", trust_remote_code=False)
    model.score([model.encode("Say it.", "word " * count) for count in WORDS])
    assert calls == [(None, True)] * 2, "one per layer"


def test_an_encoder_keeps_its_mask(tmp_path, monkeypatch):
    path = str(make_reward_model(tmp_path, kind="BertForSequenceClassification"))
    model = LoadedRewardModel(path, "cpu", trust_remote_code=False)
    batch = [model.encode("Say it.", "word " * count) for count in WORDS]
    alone = [model.score([tokens])[0] for tokens in batch]
    assert model.score(batch) == pytest.approx(alone, abs=5)
