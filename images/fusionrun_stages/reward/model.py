"""A reward model: conversations in, scores as integers of one millionth out.

Three shapes of model are known:

- custom code whose output has ``score`` (ArmoRM): its own padding and gating; run as it is, under our transformers;
- a causal language model with a linear ``score`` head (``LlamaForSequenceClassification`` and its kin): the head is
  applied here, to the last token of each conversation;
- any other sequence classifier with one label: its ``logits``.

Of all three the head is computed in 32 bits (``float32_head``).
"""

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from fusionrun.api.records import MICRO
from fusionrun_stages.errors import UserError
from fusionrun_stages.models.attention import attention_of
from fusionrun_stages.models.chat_template import TEMPLATE_ARGUMENTS
from fusionrun_stages.reward.float32_head import make_exact
from fusionrun_stages.reward.older_transformers import provide

DTYPES = {"cuda": "bfloat16", "cpu": "float32"}
"""How the language model is computed, by device."""
BROKEN_CODE = (AssertionError, AttributeError, ImportError, LookupError, NameError, TypeError, ValueError)
"""What Python code raises that does not fit its libraries or its input: trying again is of no use."""

Text = tuple[str, str]
"""Prompt and answer."""
Store = Callable[[int, list[int | None]], None]
"""Takes a batch's number and its scores in millionths; None is of a conversation that is too long."""


class RewardModel:
    """A sequence classifier with one label.

    Parameters
    ----------
    path
        Folder of the model.
    device
        ``cuda`` or ``cpu``.
    """

    def __init__(self, path: str, device: str, *, trust_remote_code: bool) -> None:
        import torch
        from safetensors import SafetensorError
        from transformers import AutoModelForSequenceClassification, AutoTokenizer

        if not Path(path, "config.json").is_file():
            raise UserError(f"rewardModel.model: {path} holds no config.json")
        self.device = device
        dtype = getattr(torch, DTYPES[self.device])
        if trust_remote_code:
            provide()
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
            # Of the first, custom code for another version of transformers.
            raise UserError(
                f"rewardModel.model: {path} cannot be loaded as a sequence classifier: {_reason(error)}"
            ) from error
        if self.tokenizer.chat_template is None:
            raise UserError(f"rewardModel.model: {path} has no chat template, so it cannot read a conversation")
        missing = sorted(loading["missing_keys"])
        if missing:
            raise UserError(f"rewardModel.model: {path} lacks weights, it is no trained reward model: {missing[:3]}")
        self._model = model.eval().to(self.device)
        make_exact(self._model)
        self._head = self._find_head(torch)
        # The head of a causal language model is applied at places that the mask names: any token pads.
        self._pad_id: int | None = None
        if self._head is None:
            self._pad_id = self._find_pad()

    @property
    def details(self) -> dict[str, object]:
        """What the manifest says of the model."""
        return {"device": self.device}

    def length(self, prompt: str, answer: str) -> int | None:
        """Return the tokens of a conversation; None where its text holds the token that pads."""
        tokens = self.encode(prompt, answer)
        return None if self._pad_id is not None and self._pad_id in tokens else len(tokens)

    def score_all(self, batches: Iterable[tuple[int, Sequence[Text]]], store: Store) -> None:
        """Score numbered batches, one after the other."""
        for number, batch in batches:
            store(number, [*self.score([self.encode(prompt, answer) for prompt, answer in batch])])

    def _find_head(self, torch: Any) -> Any:
        """Return the linear head of a causal language model, else None."""
        head: Any = getattr(self._model, "score", None)
        plain = isinstance(head, torch.nn.Linear) and type(self._model).__module__.startswith("transformers.")
        if not plain:
            return None
        if head.out_features != 1:
            raise UserError(f"rewardModel.model: its head has {head.out_features} labels, and a reward is one number")
        return head

    def _find_pad(self) -> int:
        """Return the token to pad with, which the model then knows as its own.

        Notes
        -----
        Such a model scores at the token before the first ``config.pad_token_id``: were that the token that ends a
        turn, it would score before the answer.
        """
        known = [i for i in (self._model.config.pad_token_id, self.tokenizer.pad_token_id) if i is not None]
        if not known:
            raise UserError("rewardModel.model: neither its config.json nor its tokenizer has a pad token")
        spoken = self.encode("a", "b")
        embedded = self._model.get_input_embeddings().num_embeddings
        for pad in known:
            if pad not in spoken and pad < embedded:
                self._model.config.pad_token_id = pad
                return int(pad)
        if known[0] in spoken:
            raise UserError(
                f"rewardModel.model: its pad token ({known[0]}) is its end-of-turn token, or another of its chat "
                "template: a model that scores at the last token before the padding would read the wrong one; give it "
                "a pad token of its own, in config.json and tokenizer_config.json"
            )
        raise UserError(f"rewardModel.model: its pad token ({known[0]}) is beyond its {embedded} embeddings")

    def encode(self, prompt: str, answer: str) -> list[int]:
        """Return the tokens of a whole conversation, by the model's own chat template.

        Notes
        -----
        One conversation, tokenized directly: ArmoRM's code raises where the assistant's header is cut off.
        """
        messages = [{"role": "user", "content": prompt}, {"role": "assistant", "content": answer}]
        encoded = self.tokenizer.apply_chat_template(messages, tokenize=True, return_dict=True, **TEMPLATE_ARGUMENTS)
        return list(encoded["input_ids"])

    def score(self, batch: Sequence[Sequence[int]]) -> list[int]:
        """Score conversations.

        Parameters
        ----------
        batch
            Tokens of (B) conversations, padded here on the right to (B, T).

        Returns
        -------
        list of int
            Scores in millionths.
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
        if self._head is not None:
            hidden = self._model.base_model(input_ids=ids, attention_mask=mask).last_hidden_state
            last = hidden[torch.arange(len(ids), device=self.device), mask.sum(1) - 1]
            return self._head(last.float())[:, 0]
        output = self._model(input_ids=ids, attention_mask=mask)
        scores = output.score if getattr(output, "score", None) is not None else output.logits
        scores = scores.float()
        if scores.ndim > 1 and scores.shape[-1] != 1:
            raise UserError(f"rewardModel.model: it gives {scores.shape[-1]} numbers, and a reward is one")
        return scores.reshape(len(ids))


def _reason(error: Exception) -> str:
    lines = str(error).splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__
