"""The prompts of lm-eval's requests: conversations, which lm-eval takes as texts, and settings of a generation."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from fusionrun_stages.errors import UserError

MAX_TOKENS = 256
"""Limit of a response if the task has none. Source: lm-eval 0.4.13, ``lm_eval/defaults.py``, DEFAULT_MAX_GEN_TOKS."""
MAX_TOKENS_NAMES = ("max_gen_toks", "max_new_tokens", "max_tokens", "max_completion_tokens")
"""Names of the limit, the first one counts. Source: lm-eval 0.4.13, ``lm_eval/models/utils.py``,
``normalize_gen_kwargs``; so is the rule that ``do_sample: false`` is greedy decoding."""
SENT = ("top_p", "top_k", "min_p", "repetition_penalty", "frequency_penalty", "presence_penalty")
"""Further settings that are fields of vLLM's requests."""


@dataclass(frozen=True)
class Conversation:
    """A prompt of messages."""

    json: str
    """The text that lm-eval has: JSON of the messages and whether the last one is to be continued."""

    @classmethod
    def of(cls, messages: list[dict[str, str]], *, is_open: bool) -> "Conversation":
        """Return the prompt; ``is_open``: the model continues the last message."""
        return cls(json.dumps({"messages": messages, "continue": is_open}, ensure_ascii=False))

    @cached_property
    def _value(self) -> dict[str, Any]:
        value: dict[str, Any] = json.loads(self.json)
        return value

    @property
    def messages(self) -> list[dict[str, str]]:
        """The messages."""
        messages: list[dict[str, str]] = self._value["messages"]
        return messages

    @property
    def is_open(self) -> bool:
        """Whether the model continues the last message."""
        return bool(self._value["continue"])


def request_settings(kwargs: Mapping[str, Any], max_tokens: int | None, field: str) -> dict[str, Any]:
    """Return the fields of a request for a task's ``generation_kwargs``; all that change the tokens are set.

    Raises
    ------
    UserError
        If a setting has a value that is no number.
    """
    try:
        limits = [int(kwargs[name]) for name in MAX_TOKENS_NAMES if kwargs.get(name) is not None]
        greedy = kwargs.get("do_sample") is False
        temperature = 0.0 if greedy else float(kwargs.get("temperature") or 0.0)
        others = {name: float(kwargs[name]) for name in SENT if kwargs.get(name) is not None and temperature}
    except (TypeError, ValueError) as error:
        raise UserError(f"{field}: generation_kwargs of the task: {error}") from error
    if "top_k" in others:
        others["top_k"] = int(others["top_k"])
    until = kwargs.get("until") or []
    stop = [until] if isinstance(until, str) else [text for text in until if text]
    # vLLM reads a missing parameter from generation_config.json of the model.
    neutral = {"top_p": 1.0, "top_k": -1, "repetition_penalty": 1.0}
    return {
        "temperature": temperature,
        **neutral,
        **others,
        "max_tokens": max_tokens or (limits[0] if limits else MAX_TOKENS),
        "stop": stop,
    }
