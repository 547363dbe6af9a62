"""The samples in a chat completion: text, reasoning, finish reason, tokens and log-probabilities of each.

A server, or a proxy before it, may send anything: no reply raises an exception.

Source: OpenAI, API reference, "The chat completion object"; for the fields of the reasoning, DeepSeek's API
(``reasoning_content``) and vLLM 0.11 (``reasoning``).
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from fusionrun.api.records import replace_surrogates
from fusionrun_stages.models.reasoning import split_reasoning

COMPLETE = ("stop", "length")
"""Finish reasons of a sample that the model has ended, or that has reached its token limit."""
INTERRUPTED = ("abort", "error", "cancelled", "timeout", None, "")
"""Finish reasons of a sample that the server has not finished: the same request may succeed.

Source: vLLM, ``FinishReason`` (vllm/v1/engine): a server that ends aborts its requests; SGLang also sends ``abort``;
TensorRT-LLM, ``CompletionOutput``: ``cancelled`` and ``timeout``; OpenRouter normalizes to ``error``. A reply that was
not streamed has a reason, unless it was interrupted.
"""
TOKENS_MAX = 2**31
"""Larger counts of tokens in a reply are not counts: no context is as long."""
LOGPROB_MAX = 1e6
"""Largest magnitude of a log-probability. vLLM sends -9999 for minus infinity."""
QUOTED_CHARACTERS = 200


@dataclass(frozen=True)
class Sample:
    """One choice of a reply."""

    text: str = ""
    reasoning: str | None = None
    finish_reason: str = "error"
    """``stop``, ``length`` or ``error``."""
    completion_tokens: int = 0
    error: str | None = None
    interrupted: bool = False
    """Whether the server has not finished it."""
    stop_text: str | None = None
    """The text of ``stop`` that ended it, if vLLM says so (``stop_reason``)."""
    logprobs: dict[str, float] = field(default_factory=dict)
    """Log-probability of the likeliest first tokens, by token, if they were requested."""


@dataclass(frozen=True)
class Completion:
    """The samples of a reply by their index in the request, and the tokens of the prompt."""

    samples: dict[int, Sample] = field(default_factory=dict)
    prompt_tokens: int = 0
    model: str | None = None
    """The model that answered, by its own name."""
    error: str = ""
    """Why there are no samples."""

    @property
    def is_final(self) -> bool:
        """Whether the server has finished at least one sample."""
        return not all(sample.interrupted for sample in self.samples.values())


def read_completion(content: bytes, count: int) -> Completion:
    """Read the reply to a request for ``count`` samples; without samples if it is not a chat completion."""
    try:
        # A proxy may cut a character: the rest of the reply is kept.
        reply = json.loads(content.decode("utf-8-sig", "replace"))
    except (ValueError, RecursionError) as error:
        return Completion(error=_reason(f"{type(error).__name__}: {error}", content))
    choices = reply.get("choices") if isinstance(reply, dict) else None
    by_index = _by_index(choices, count) if isinstance(choices, list) else {}
    if not by_index:
        return Completion(error=_reason("no choices", content))
    usage = reply.get("usage")
    usage = usage if isinstance(usage, dict) else {}
    tokens = _tokens(by_index.values(), count_of(usage.get("completion_tokens")))
    samples = {index: _sample(choice, n) for (index, choice), n in zip(by_index.items(), tokens, strict=True)}
    model = reply.get("model")
    model = replace_surrogates(model[:QUOTED_CHARACTERS]) if isinstance(model, str) else None
    return Completion(samples, count_of(usage.get("prompt_tokens")), model)


def count_of(value: Any) -> int:
    """Return a count of tokens; 0 if the value cannot be one."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < TOKENS_MAX else 0


def _by_index(choices: list[Any], count: int) -> dict[int, dict[str, Any]]:
    """Return the choices by their index, or by their position if the indexes are not those of requested samples."""
    objects = [choice for choice in choices if isinstance(choice, dict)]
    indexes = [choice.get("index") for choice in objects]
    numbers = [index for index in indexes if type(index) is int]
    is_distinct = len(numbers) == len(objects) == len(set(numbers))
    if not is_distinct or not any(0 <= number < count for number in numbers):
        numbers = list(range(len(objects)))
    pairs = sorted(zip(numbers, objects, strict=True), key=lambda pair: pair[0])
    return {index: choice for index, choice in pairs if 0 <= index < count}


def _sample(choice: dict[str, Any], tokens: int) -> Sample:
    finish_reason, message = choice.get("finish_reason"), choice.get("message")
    if finish_reason is not None and not isinstance(finish_reason, str):
        return Sample(error=f"finish_reason: a {type(finish_reason).__name__}, not a text")
    if finish_reason not in COMPLETE:
        error = replace_surrogates(f"finish_reason {finish_reason}"[:QUOTED_CHARACTERS])
        return Sample(error=error, interrupted=finish_reason in INTERRUPTED)
    if not isinstance(message, dict):
        return Sample(error="a choice without a message", interrupted=True)
    content, thoughts = _parts(message.get("content"))
    if content is None:
        return Sample(error=f"the content is a {type(message['content']).__name__}, not a text")
    text, reasoning = split_reasoning(content)
    given = next((v for name in ("reasoning_content", "reasoning") if isinstance(v := message.get(name), str)), "")
    blocks = [block for part in (given, thoughts, reasoning) if part and (block := part.strip())]
    if not text.strip() and not blocks and (instead := _instead_of_text(message)):
        return Sample(error=replace_surrogates(instead))
    return Sample(
        text=replace_surrogates(text),
        reasoning=replace_surrogates("\n\n".join(blocks)) or None,
        finish_reason=finish_reason,
        completion_tokens=tokens,
        stop_text=stop if isinstance(stop := choice.get("stop_reason"), str) else None,
        logprobs=_first_logprobs(choice.get("logprobs")),
    )


def _first_logprobs(logprobs: Any) -> dict[str, float]:
    """Return the log-probabilities of the first token's alternatives; empty if there are none."""
    content = logprobs.get("content") if isinstance(logprobs, dict) else None
    first = content[0] if isinstance(content, list) and content else None
    top = first.get("top_logprobs") if isinstance(first, dict) else None
    found: dict[str, float] = {}
    for one in (one for one in (top if isinstance(top, list) else ()) if isinstance(one, dict)):
        token: Any = one.get("token")
        value: Any = one.get("logprob")
        # The JSON of a Python server may have NaN and infinities, which the files of a run cannot contain.
        is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
        if isinstance(token, str) and is_number and abs(value) <= LOGPROB_MAX:
            found.setdefault(replace_surrogates(token), float(value))
    return found


def _parts(content: Any) -> tuple[str | None, str]:
    """Return the text and the reasoning of a content, which may be a list of parts; None if it is neither.

    Source: OpenAI, API reference, "content parts"; Mistral, "Reasoning": parts of type ``thinking``.
    """
    if content is None or isinstance(content, str):
        return content or "", ""
    if not isinstance(content, list):
        return None, ""
    texts, thoughts = [], []
    for part in content:
        if isinstance(part, str):
            texts.append(part)
        elif isinstance(part, dict) and isinstance(part.get("text"), str):
            texts.append(part["text"])
        elif isinstance(part, dict) and isinstance(thinking := part.get("thinking"), (str, list)):
            inner = thinking if isinstance(thinking, list) else [thinking]
            thoughts += [piece for item in inner if isinstance(piece := _text_of(item), str)]
    return "".join(texts), "".join(thoughts)


def _text_of(part: Any) -> Any:
    return part.get("text") if isinstance(part, dict) else part


def _instead_of_text(message: dict[str, Any]) -> str:
    """Return what a message without text has instead: a refusal, or calls of tools; empty if nothing."""
    refusal = message.get("refusal")
    if isinstance(refusal, str) and refusal.strip():
        return f"refusal: {refusal}"
    return "tool calls instead of a text" if message.get("tool_calls") or message.get("function_call") else ""


def _tokens(choices: Iterable[dict[str, Any]], total: int) -> list[int]:
    """Return the completion tokens of each choice: the count of its ids, else an even share of the total."""
    ids = [choice.get("token_ids") for choice in choices]
    counts = [len(one) for one in ids if isinstance(one, list)]
    if len(counts) == len(ids):
        return counts
    return [total // len(ids) + (position < total % len(ids)) for position in range(len(ids))]


def _reason(problem: str, content: bytes) -> str:
    start = content[:QUOTED_CHARACTERS].decode("utf-8", "replace")
    return f"not a chat completion: {problem[:QUOTED_CHARACTERS]} in {start}"
