"""A reward model in this process. Scores are integers in millionths.

Three kinds of model are supported:

- custom code whose output has ``score`` (ArmoRM), which handles padding and gating;
- a causal language model with a linear ``score`` head, such as ``LlamaForSequenceClassification``: the head is applied
  here, to the last token of each conversation;
- any other sequence classifier with one label: its ``logits``.

The head is computed in float32 (``float32_head``), the causal language model below it without a mask of the padding
(``models.padding``).
"""

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from fusionrun.api.records import MICRO
from fusionrun_stages.errors import UserError
from fusionrun_stages.models.attention import attention_of
from fusionrun_stages.models.chat_template import TEMPLATE_ARGUMENTS
from fusionrun_stages.models.control_tokens import ControlTokens
from fusionrun_stages.models.padding import drop_padding_mask, is_causal
from fusionrun_stages.reward.float32_head import compute_head_in_float32
from fusionrun_stages.reward.messages import PromptTurns, to_messages

DTYPES = {"cuda": "bfloat16", "cpu": "float32"}
"""Dtype of the language model by device."""
BROKEN_CODE = (AssertionError, AttributeError, ImportError, LookupError, NameError, TypeError, ValueError)
"""Exceptions of code that does not fit its libraries or its input: a retry would not help."""

PromptResponse = tuple[PromptTurns, str]
"""Prompt and response."""
StoreScores = Callable[[int, list[int | None]], None]
"""Takes the number of a batch and its scores in millionths; None: the conversation is too long."""


class LoadedRewardModel:
    """A sequence classifier with one label, loaded from a folder to ``cuda`` or ``cpu``."""

    def __init__(self, path: str, device: str, *, trust_remote_code: bool) -> None:
        import torch
        from safetensors import SafetensorError
        from transformers import AutoModelForSequenceClassification, AutoTokenizer

        if not Path(path, "config.json").is_file():
            raise UserError(f"rewardModel.model: {path} has no config.json")
        self.device = device
        dtype = getattr(torch, DTYPES[self.device])
        if trust_remote_code:
            _add_missing_names()
        try:
            self.tokenizer = AutoTokenizer.from_pretrained(path, trust_remote_code=trust_remote_code)
            model, loading = AutoModelForSequenceClassification.from_pretrained(
                path,
                trust_remote_code=trust_remote_code,
                dtype=dtype,
                output_loading_info=True,
                **attention_of(path, trust_remote_code=trust_remote_code),
            )
        except (*BROKEN_CODE, OSError, RuntimeError, SafetensorError) as error:
            # BROKEN_CODE: custom code for another version of transformers.
            raise UserError(
                f"rewardModel.model: {path} cannot be loaded as a sequence classifier: {_reason(error)}"
            ) from error
        if self.tokenizer.chat_template is None:
            raise UserError(f"rewardModel.model: {path} has no chat template")
        missing = sorted(loading["missing_keys"])
        if missing:
            raise UserError(f"rewardModel.model: {path} is not a trained reward model: missing weights {missing[:3]}")
        self._model = model.eval().to(self.device)
        compute_head_in_float32(self._model)
        _prepare_language_models(self._model)
        self._head = self._find_head(torch)
        self._control = ControlTokens(self.tokenizer, self.encode("a", "b"))
        self._plain_control: dict[int, list[int]] = {}
        """Control tokens of a conversation of plain text, by its number of messages."""
        # A head that is applied here takes the last token from the attention mask, so any token can pad.
        self._pad_id = self._find_pad() if self._head is None else None

    @property
    def details(self) -> dict[str, object]:
        """The model, for the manifest."""
        return {"device": self.device}

    def length(self, prompt: PromptTurns, response: str) -> int | None:
        """Return the number of tokens of a conversation; None if its texts contain the text of a control token.

        The model would score other turns than the prompt and the response, or padding.
        """
        tokens = self.encode(prompt, response)
        if self._control.of(tokens) != self._plain_tokens(to_messages(prompt, response)) or (
            self._pad_id is not None and self._pad_id in tokens
        ):
            return None
        return len(tokens)

    def _plain_tokens(self, messages: list[dict[str, str]]) -> list[int]:
        """Return the control tokens of a conversation of plain text with the same roles."""
        count = len(messages)
        if count not in self._plain_control:
            plain = [{**message, "content": "a"} for message in messages[:-1]]
            self._plain_control[count] = self._control.of(self.encode(plain, "b"))
        return self._plain_control[count]

    def score_all(self, batches: Iterable[tuple[int, Sequence[PromptResponse]]], store: StoreScores) -> None:
        """Score numbered batches in order."""
        for number, batch in batches:
            store(number, [*self.score([self.encode(prompt, response) for prompt, response in batch])])

    def _find_head(self, torch: Any) -> Any:
        """Return the linear head of a causal language model, else None."""
        head: Any = getattr(self._model, "score", None)
        if not isinstance(head, torch.nn.Linear) or not type(self._model).__module__.startswith("transformers."):
            return None
        if head.out_features != 1:
            raise UserError(f"rewardModel.model: its head has {head.out_features} labels, expected 1")
        return head

    def _find_pad(self) -> int:
        """Return the pad token, and set it in the model's configuration.

        Such a model scores at the token before the first ``config.pad_token_id``. If that were the end-of-turn token,
        it would score before the response.
        """
        pads = [i for i in (self._model.config.pad_token_id, self.tokenizer.pad_token_id) if i is not None]
        if not pads:
            raise UserError("rewardModel.model: neither its config.json nor its tokenizer has a pad token")
        template_ids = self.encode("a", "b")
        embedded = self._model.get_input_embeddings().num_embeddings
        for pad in pads:
            if pad not in template_ids and pad < embedded:
                self._model.config.pad_token_id = pad
                return int(pad)
        if pads[0] in template_ids:
            raise UserError(
                f"rewardModel.model: its pad token ({pads[0]}) is its end-of-turn token, or another one of its chat "
                "template, so the model would score at the wrong token: set another pad token in config.json and "
                "tokenizer_config.json"
            )
        raise UserError(f"rewardModel.model: its pad token ({pads[0]}) is beyond its {embedded} embeddings")

    def encode(self, prompt: PromptTurns, response: str) -> list[int]:
        """Return the token ids of a conversation, rendered by the model's chat template, without truncation.

        ArmoRM's code raises an error if the assistant's header is cut off.
        """
        messages = to_messages(prompt, response)
        encoded = self.tokenizer.apply_chat_template(messages, tokenize=True, return_dict=True, **TEMPLATE_ARGUMENTS)
        return list(encoded["input_ids"])

    def score(self, batch: Sequence[Sequence[int]]) -> list[int]:
        """Return B scores in millionths for the token ids of B conversations.

        The ids are padded on the right to (B, T), int64.
        """
        import torch

        width = max(len(tokens) for tokens in batch)
        pad = self._pad_id if self._pad_id is not None else 0
        ids = torch.tensor([[*tokens, *[pad] * (width - len(tokens))] for tokens in batch], device=self.device)
        mask = torch.tensor([[1] * len(t) + [0] * (width - len(t)) for t in batch], device=self.device)
        try:
            with torch.inference_mode():
                scores = self._forward(torch, ids, mask)
        except BROKEN_CODE as error:
            raise UserError(f"rewardModel.model: its code cannot score a conversation: {_reason(error)}") from error
        return [round(score * MICRO) for score in scores.double().tolist()]

    def _forward(self, torch: Any, ids: Any, mask: Any) -> Any:
        """Return (B,) scores, float32, for ids and mask of (B, T), int64."""
        if self._head is not None:
            hidden = self._model.base_model(input_ids=ids, attention_mask=mask).last_hidden_state
            last = hidden[torch.arange(len(ids), device=self.device), mask.sum(1) - 1]
            return self._head(last.float())[:, 0]
        output = self._model(input_ids=ids, attention_mask=mask)
        scores = output.score if getattr(output, "score", None) is not None else output.logits
        scores = scores.float()
        if scores.ndim > 1 and scores.shape[-1] != 1:
            raise UserError(f"rewardModel.model: it returns {scores.shape[-1]} numbers per conversation, expected 1")
        return scores.reshape(len(ids))


def _prepare_language_models(model: Any) -> None:
    """Let causal language models run without a mask of the padding, and store no keys and values.

    The mask stays for the head, which may find the last token with it, and for language models that are not causal.
    """
    from transformers import PreTrainedModel

    for child in model.children():
        if isinstance(child, PreTrainedModel) and is_causal(child):
            drop_padding_mask(child)
            child.config.use_cache = False


def _add_missing_names() -> None:
    """Add the name that ArmoRM's code, pinned by its commit, imports and that transformers 5 removed.

    It is a documentation string; an empty one does not change the computation. An image with transformers 4 would need
    older hub and tokenizer libraries, too. Source: RLHFlow/ArmoRM-Llama3-8B-v0.1, modeling_custom.py, which decorates
    its forward method with it.
    """
    from transformers.models.llama import modeling_llama

    if not hasattr(modeling_llama, "LLAMA_INPUTS_DOCSTRING"):
        modeling_llama.LLAMA_INPUTS_DOCSTRING = ""


def _reason(error: Exception) -> str:
    lines = str(error).splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__
