"""Which language models read no token after their own, so that padding on the right needs no mask."""

import pytest
import torch
import transformers

from fusionrun_stages.models.padding import is_causal

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of torch.jit, in DeBERTa

SIZES = {
    "vocab_size": 50, "hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2,
    "num_key_value_heads": 1, "head_dim": 16, "pad_token_id": 0, "sliding_window": 4,
}  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "more", "causal"),
    [
        ("LlamaModel", {}, True),
        ("MistralModel", {}, True),
        ("Qwen2Model", {}, True),
        ("Gemma2Model", {"attn_implementation": "eager"}, True),
        ("Gemma3TextModel", {}, True),
        ("Gemma3TextModel", {"use_bidirectional_attention": True}, False),
        ("BertModel", {}, False),
        ("DebertaV2Model", {}, False),
    ],
)
def test_only_causal_models_run_without_a_mask(kind, more, causal):
    torch.manual_seed(0)
    model_class = getattr(transformers, kind)
    model = model_class(model_class.config_class(**SIZES | more)).eval()
    assert is_causal(model) is causal
    ids = torch.tensor([[5, 6, 7, 8, 9, 10, 11, 12]])
    other = ids.clone()
    other[0, -1] = 20
    with torch.inference_mode():
        one, two = (model(input_ids=each).last_hidden_state[0, :-1] for each in (ids, other))
    assert torch.allclose(one, two, atol=1e-6) is causal


def test_a_model_of_custom_code_is_not_assumed_to_be_causal():
    class Custom(transformers.LlamaModel):
        pass

    assert not is_causal(Custom(transformers.LlamaConfig(**SIZES)))
