"""Reward models with custom code, similar to ArmoRM, under the installed transformers."""

import json

import pytest
import torch
import transformers

from fusionrun_stages.errors import UserError
from fusionrun_stages.reward import model as reward_model
from fusionrun_stages.reward.model import LoadedRewardModel
from support.tiny_llama import SPECIAL, make_tokenizer

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning"),
    pytest.mark.usefixtures("_modules"),
]

OBJECTIVES = 19
HIDDEN = 64
VOCABULARY = 262
# Several objectives weighted by a gate on the token before the assistant's header; written for transformers 4, whose
# names it imports. Token 4 is the header, token 1 the end of turn (support.tiny_llama).
CODE = """
from dataclasses import dataclass
from typing import Optional

import torch
from torch import nn
from transformers import LlamaModel, LlamaPreTrainedModel
from transformers.models.llama.modeling_llama import LLAMA_INPUTS_DOCSTRING
from transformers.utils import ModelOutput, add_start_docstrings_to_model_forward

HEADER = [1, 4]


def place_of_header(tokens):
    for place in reversed(range(len(tokens) - len(HEADER) + 1)):
        if tokens[place : place + len(HEADER)] == HEADER:
            return place
    raise ValueError("no assistant header among the tokens")


class Gate(nn.Module):
    def __init__(self, width, objectives, temperature, hidden):
        super().__init__()
        self.temperature = temperature
        self.scale = nn.Parameter(torch.ones(1) * 1.0)
        self.steps = nn.ModuleList([nn.Linear(width, hidden), nn.Linear(hidden, objectives)])

    def forward(self, states):
        weights = self.steps[1](torch.relu(self.steps[0](states)))
        return torch.softmax(weights / self.temperature, dim=1) * self.scale[0]


@dataclass
class Rewards(ModelOutput):
    rewards: Optional[torch.FloatTensor] = None
    score: Optional[torch.FloatTensor] = None
    logits: Optional[torch.FloatTensor] = None


class GatedReward(LlamaPreTrainedModel):
    def __init__(self, config):
        super().__init__(config)
        self.model = LlamaModel(config)
        known = config.to_dict()
        objectives = known.get("num_objectives", 19)
        self.regression_layer = nn.Linear(config.hidden_size, objectives, bias=False)
        self.post_init()
        unit = torch.zeros(objectives, objectives)
        unit[range(objectives), range(objectives)] = 1.0
        self.reward_transform_matrix = nn.Parameter(unit)
        self.reward_transform_matrix.requires_grad = False
        self.gating = Gate(
            config.hidden_size, config.num_objectives, known.get("gating_temperature", 10), config.gating_hidden_dim
        )

    @add_start_docstrings_to_model_forward(LLAMA_INPUTS_DOCSTRING)
    def forward(self, input_ids=None, attention_mask=None, position_ids=None, past_key_values=None, inputs_embeds=None,
                labels=None, use_cache=None, output_attentions=None, output_hidden_states=None, return_dict=None):
        return_dict = return_dict if return_dict is not None else self.config.use_return_dict
        states = self.model(
            input_ids, attention_mask=attention_mask, position_ids=position_ids, past_key_values=past_key_values,
            inputs_embeds=inputs_embeds, use_cache=use_cache, output_attentions=output_attentions,
            output_hidden_states=output_hidden_states, return_dict=return_dict,
        )[0]
        if self.config.pad_token_id is None and len(input_ids) != 1:
            raise ValueError("no padding token is defined")
        ends = (torch.eq(input_ids, self.config.pad_token_id).int().argmax(-1) - 1) % input_ids.shape[-1]
        rows = torch.arange(len(input_ids), device=states.device)
        rewards = self.regression_layer(states[rows, ends])
        gates = self.gating(states[rows, [place_of_header(ids.tolist()) for ids in input_ids], :])
        score = torch.sum(gates * (rewards @ self.reward_transform_matrix), dim=1)
        return Rewards(rewards=rewards, score=score, logits=score)
"""


@pytest.fixture
def _modules(tmp_path, monkeypatch):
    """Keep copies of custom code out of the home folder, and undo the added names after each test."""
    from transformers.models.llama import modeling_llama

    monkeypatch.setattr("transformers.dynamic_module_utils.HF_MODULES_CACHE", str(tmp_path / "modules"))
    monkeypatch.delattr(modeling_llama, "LLAMA_INPUTS_DOCSTRING", raising=False)


def save(folder, *, code=CODE, pad="<pad>", **config):
    """Save the model as on the hub: code, config, weights and tokenizer."""
    from safetensors.torch import save_file

    folder.mkdir()
    tokenizer = make_tokenizer(pad=pad)
    tokenizer.save_pretrained(folder)
    torch.manual_seed(0)
    known = transformers.LlamaConfig(
        vocab_size=VOCABULARY, hidden_size=HIDDEN, intermediate_size=64, num_hidden_layers=2,
        num_attention_heads=2, num_key_value_heads=2, max_position_embeddings=512, initializer_range=0.2,
        bos_token_id=0, eos_token_id=1, num_labels=OBJECTIVES,
        pad_token_id=tokenizer.pad_token_id if pad in SPECIAL else None,
    )  # fmt: skip
    fields = known.to_dict() | {
        "architectures": ["GatedReward"], "num_objectives": OBJECTIVES, "gating_temperature": 10,
        "gating_hidden_dim": 32, "auto_map": {"AutoModelForSequenceClassification": "modeling_custom.GatedReward"},
    }  # fmt: skip
    (folder / "config.json").write_text(json.dumps(fields | config))
    (folder / "modeling_custom.py").write_text(code)
    weights = {f"model.{name}": value for name, value in transformers.LlamaModel(known).state_dict().items()}
    weights["regression_layer.weight"] = torch.randn(OBJECTIVES, HIDDEN) * 0.01 + 0.01
    weights["reward_transform_matrix"] = torch.eye(OBJECTIVES) - 0.01
    weights["gating.scale"] = torch.ones(1)
    for step, (out, into) in enumerate([(32, HIDDEN), (OBJECTIVES, 32)]):
        weights[f"gating.steps.{step}.weight"] = torch.randn(out, into)
        weights[f"gating.steps.{step}.bias"] = torch.zeros(out)
    # bfloat16 weights, as on the hub: exact in any precision.
    save_file(
        {k: v.bfloat16().contiguous() for k, v in weights.items()},
        folder / "model.safetensors",
        metadata={"format": "pt"},
    )
    return str(folder)


def load(path):
    return LoadedRewardModel(path, "cpu", trust_remote_code=True)


def conversations(model, count=3):
    return [model.encode("Say it.", "word " * (1 + 5 * n % 7) + "!" * n) for n in range(count)]


def by_hand(path, tokens, dtype=torch.float32):
    """Return the score computed from the weights, with the language model in ``dtype`` and the head in float32."""
    from safetensors.torch import load_file

    weights = {name: value.float() for name, value in load_file(f"{path}/model.safetensors").items()}
    language = transformers.LlamaModel.from_pretrained(path, dtype=dtype).eval()
    ids = torch.tensor([tokens])
    with torch.inference_mode():
        states = language(input_ids=ids, attention_mask=torch.ones_like(ids)).last_hidden_state[0].float()
    steps = [(weights[f"gating.steps.{n}.weight"], weights[f"gating.steps.{n}.bias"]) for n in range(2)]
    header = max(n for n in range(len(tokens) - 1) if tokens[n : n + 2] == [1, 4])
    gates = torch.softmax((steps[1][0] @ torch.relu(steps[0][0] @ states[header] + steps[0][1]) + steps[1][1]) / 10, 0)
    rewards = weights["regression_layer.weight"] @ states[-1] @ weights["reward_transform_matrix"]
    return float(gates @ rewards)


def test_scores_match_the_weights_under_the_installed_transformers(tmp_path):
    path = save(tmp_path / "gated")
    model = load(path)
    together = model.score(conversations(model))
    for tokens, score in zip(conversations(model), together, strict=True):
        assert score == pytest.approx(by_hand(path, tokens) * 1e6, abs=5)
        assert model.score([tokens])[0] == pytest.approx(score, abs=5)
    assert len(set(together)) == 3


def test_the_mask_of_the_padding_does_not_change_the_scores(tmp_path, monkeypatch):
    path = save(tmp_path / "gated")
    unmasked = load(path)
    monkeypatch.setattr(reward_model, "_prepare_language_models", lambda _: None)
    masked = load(path)
    asked = []
    for model in (unmasked, masked):
        layer = model._model.model.layers[0].self_attn
        layer.register_forward_pre_hook(lambda _, __, named: asked.append(named["attention_mask"]), with_kwargs=True)
    together = conversations(masked)
    assert unmasked.score(together) == pytest.approx(masked.score(together), abs=2)
    assert [mask is None for mask in asked] == [True, False]


def test_the_head_is_float32_on_a_bfloat16_language_model(tmp_path, monkeypatch):
    monkeypatch.setitem(reward_model.DTYPES, "cpu", "bfloat16")
    path = save(tmp_path / "gated")
    model = load(path)
    assert {p.dtype for p in model._model.model.parameters()} == {torch.bfloat16}
    rest = {n: p for n, p in model._model.named_parameters() if not n.startswith("model.")}
    assert {p.dtype for p in rest.values()} == {torch.float32}
    assert set(rest) == {"regression_layer.weight", "reward_transform_matrix", "gating.scale"} | {
        f"gating.steps.{n}.{kind}" for n in range(2) for kind in ("weight", "bias")
    }
    # One at a time: bfloat16 results depend on the batch.
    tokens = conversations(model, 40)
    scores = [model.score([one])[0] for one in tokens]
    assert scores[0] == pytest.approx(by_hand(path, tokens[0], torch.bfloat16) * 1e6, abs=5)
    coarse = torch.tensor(scores).div(1e6).bfloat16().tolist()
    assert len(set(scores)) == 40 > len(set(coarse)), "close scores stay apart"


def test_a_conversation_without_the_assistant_header_is_a_user_error(tmp_path):
    model = load(save(tmp_path / "gated"))
    tokens = model.encode("Say it.", "word")
    truncated = tokens[: tokens.index(4)]
    with pytest.raises(UserError, match="cannot score a conversation: ValueError: no assistant header"):
        model.score([truncated])


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        ("self.model(\n            input_ids,", "self.model(\n            input_ids, nothing_of_this_name_(),"),
        ("states[rows, ends]", "states[rows, ends, too, many]"),
        ("torch.sum(gates", "torch.sum(3 + None + gates"),
    ],
)
def test_broken_custom_code_is_a_user_error(tmp_path, broken, message):
    assert broken in CODE
    model = load(save(tmp_path / "gated", code=CODE.replace(broken, message)))
    with pytest.raises(UserError, match=r"cannot score a conversation: (TypeError|NameError)"):
        model.score([model.encode("Say it.", "word")])


def test_custom_code_that_fails_to_load_is_a_user_error(tmp_path):
    code = CODE.replace("nn.Linear(config.hidden_size, objectives, bias=False)", "nn.Linear(config.hidden_size)")
    with pytest.raises(UserError, match="cannot be loaded as a sequence classifier: TypeError"):
        load(save(tmp_path / "gated", code=code))


def test_custom_code_for_another_library_is_rejected(tmp_path):
    code = CODE.replace("LLAMA_INPUTS_DOCSTRING", "LLAMA_OF_NEVER")
    with pytest.raises(UserError, match="LLAMA_OF_NEVER"):
        load(save(tmp_path / "gated", code=code))


def test_a_conversation_with_the_pad_token_is_not_scored(tmp_path):
    model = load(save(tmp_path / "gated"))
    assert model.length("Say it.", "the token <pad> pads") is None
    assert model.length("Say it.", "word") == len(model.encode("Say it.", "word"))


def test_model_and_tokenizer_get_the_same_pad_token(tmp_path):
    path = save(tmp_path / "gated", pad_token_id=None)
    model = load(path)
    assert model._model.config.pad_token_id == model.tokenizer.pad_token_id == 2
    short, long = conversations(model, 2)
    assert model.score([short, long])[0] == pytest.approx(model.score([short])[0], abs=5)
    other = load(save(tmp_path / "other", pad_token_id=5))
    assert other._pad_id == other._model.config.pad_token_id == 5
    assert other.score([short, long]) == pytest.approx(model.score([short, long]), abs=5)


def test_a_pad_token_that_ends_a_turn_is_replaced_by_another(tmp_path):
    model = load(save(tmp_path / "gated", pad_token_id=1))
    assert model._model.config.pad_token_id == 2


@pytest.mark.parametrize(
    ("pad", "config", "message"),
    [
        ("<eot>", {}, "its pad token \\(1\\) is its end-of-turn token"),
        (None, {"pad_token_id": None}, "neither its config.json nor its tokenizer has a pad token"),
        ("<one more>", {}, "its pad token \\(262\\) is beyond its 262 embeddings"),
    ],
)
def test_an_unusable_pad_token_is_rejected(tmp_path, pad, config, message):
    with pytest.raises(UserError, match=message):
        load(save(tmp_path / "gated", pad=pad, **config))
