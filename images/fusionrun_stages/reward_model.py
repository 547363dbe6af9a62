"""A reward model: conversations in, scores as integers of one millionth out.

Three shapes of model are known:

- custom code whose output has ``score`` (ArmoRM): its own padding and gating; run as it is;
- a causal language model with a linear ``score`` head (``LlamaForSequenceClassification`` and its kin): the head is
  applied here, to the last token of each conversation and in 32 bits;
- any other sequence classifier with one label: its ``logits``.
"""

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from fusionrun.api.records import MICRO
from fusionrun_stages.chat_template import TEMPLATE_ARGUMENTS
from fusionrun_stages.errors import UserError

Text = tuple[str, str]
"""Prompt and answer."""
Store = Callable[[int, list[int | None]], None]
"""Takes a batch's number and its scores in millionths; None is of a conversation that is too long."""


class RewardModel:
    """A sequence classifier with one label, on the GPU where there is one."""

    def __init__(self, path: str, *, trust_remote_code: bool) -> None:
        import torch
        from safetensors import SafetensorError
        from transformers import AutoModelForSequenceClassification, AutoTokenizer

        if not Path(path, "config.json").is_file():
            raise UserError(f"rewardModel.model: {path} holds no config.json")
        self.device = "cuda" if torch.cuda.is_available() else "cpu"
        dtype = torch.bfloat16 if self.device == "cuda" else torch.float32
        try:
            self.tokenizer = AutoTokenizer.from_pretrained(path, trust_remote_code=trust_remote_code)
            model, loading = AutoModelForSequenceClassification.from_pretrained(
                path, trust_remote_code=trust_remote_code, dtype=dtype, output_loading_info=True
            )
        except (ImportError, OSError, RuntimeError, SafetensorError, ValueError) as error:
            # ImportError: custom code for another version of transformers, as ArmoRM's for 5.
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise UserError(f"rewardModel.model: {path} cannot be loaded as a sequence classifier: {reason}") from error
        if self.tokenizer.chat_template is None:
            raise UserError(f"rewardModel.model: {path} has no chat template, so it cannot read a conversation")
        missing = sorted(loading["missing_keys"])
        if missing:
            raise UserError(f"rewardModel.model: {path} lacks weights, it is no trained reward model: {missing[:3]}")
        self._model = model.eval().to(self.device)
        self._pad_id = self.tokenizer.pad_token_id
        self._head = self._find_head(torch)
        if self._head is not None:
            self._head.float()
        elif self._pad_id is None:
            raise UserError(f"rewardModel.model: the tokenizer of {path} has no pad token")

    @property
    def details(self) -> dict[str, object]:
        """What the manifest says of the model."""
        return {"device": self.device}

    def length(self, prompt: str, answer: str) -> int:
        """Return the tokens of a conversation."""
        return len(self.encode(prompt, answer))

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

    def encode(self, prompt: str, answer: str) -> list[int]:
        """Return the tokens of a whole conversation, by the model's own chat template.

        Notes
        -----
        One conversation, tokenized directly: ArmoRM's code raises where the assistant's header is cut off.
        """
        messages = [{"role": "user", "content": prompt}, {"role": "assistant", "content": answer}]
        encoded = self.tokenizer.apply_chat_template(messages, tokenize=True, return_dict=True, **TEMPLATE_ARGUMENTS)
        tokens: list[int] = list(encoded["input_ids"])
        if self._head is None and self._pad_id in tokens:
            raise UserError(
                f"rewardModel.model: its pad token ({self._pad_id}) is part of its conversations: a model that scores "
                "at the last token before the padding would read the wrong one; give it a pad token of its own"
            )
        return tokens

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
        with torch.inference_mode():
            scores = self._forward(torch, ids, mask)
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
