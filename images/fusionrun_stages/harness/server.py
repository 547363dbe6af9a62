"""The requests of lm-eval to a vLLM server: texts, tokens, and likelihoods of continuations."""

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import httpx

from fusionrun.api.records import replace_surrogates
from fusionrun.api.tasks.harness import AnswerKind, HarnessAnswer
from fusionrun_stages.client.completions import Completion, read_completion
from fusionrun_stages.client.retries import ERROR_CHARACTERS, HTTP_BAD_REQUEST, Body, error_message
from fusionrun_stages.client.server import ModelServer
from fusionrun_stages.errors import InfrastructureError, UserError
from fusionrun_stages.harness.prompts import Conversation
from fusionrun_stages.models.chat_template import TEMPLATE_ARGUMENTS

REPLY_BYTES = 64 * 2**20
"""Most bytes of a reply: the log-probabilities of a prompt have about 200 bytes per token."""
CONTEXTS = 512
"""Contexts whose tokens are kept: the options of a question share one, and their requests are sent together."""


@dataclass(frozen=True)
class Context:
    """A tokenized context."""

    text: str
    """As the server renders it."""
    tokens: list[int]
    """Without the spaces at its end, which lm-eval counts among the continuation."""
    special: bool
    """Whether the tokenizer adds the token that begins a text; a rendered conversation has it."""
    exact: bool = True
    """Whether the text has the tokens of the rendered conversation."""
    rendered: tuple[int, ...] = ()
    """Tokens of the rendered conversation."""


class HarnessServer:
    """The requests that lm-eval needs, to one server."""

    def __init__(self, server: ModelServer, model: str) -> None:
        self._server = server
        self._model = model
        self._contexts: dict[str, asyncio.Task[Context]] = {}
        self._max_model_len = 0

    async def text(
        self, key: str, index: int, prompt: "Conversation | str", settings: Mapping[str, Any]
    ) -> HarnessAnswer:
        """Return the response to a conversation, or the continuation of a text.

        ``settings``: the fields of the request, such as ``max_tokens`` and ``stop``.
        """
        chat = isinstance(prompt, Conversation)
        path = "chat/completions" if chat else "completions"
        body: Body = {"model": self._model, **settings}
        body |= _conversation(prompt) if isinstance(prompt, Conversation) else {"prompt": prompt}
        received = Completion()

        def is_final(reply: httpx.Response) -> bool:
            nonlocal received
            received = read_completion(reply.content if chat else _as_chat(reply.content), 1)
            return received.is_final

        reply = await self._server.post(path, lambda: body, is_valid=is_final)
        answer = HarnessAnswer(key=key, sample_index=index, kind=AnswerKind.TEXT)
        if reply.status_code >= HTTP_BAD_REQUEST:
            return _failed(answer, f"{reply.status_code}: {error_message(reply)}")
        sample = received.samples.get(0)
        if sample is None or sample.error is not None:
            return _failed(answer, (sample and sample.error) or received.error)
        return answer.model_copy(
            update={
                "text": sample.text,
                "finish_reason": sample.finish_reason,
                "prompt_tokens": received.prompt_tokens,
                "completion_tokens": sample.completion_tokens,
            }
        )

    async def likelihood(self, key: str, prompt: "Conversation | str", continuation: str) -> HarnessAnswer:
        """Return the log-probability of a continuation, and whether each of its tokens is the likeliest one.

        A context that is too long for the model is cut at its beginning. Source: lm-eval 0.4.13, ``TemplateLM``
        (``lm_eval/api/model.py``) and ``TemplateAPI.batch_loglikelihood_requests`` (``lm_eval/models/api_models.py``).
        """
        context = await self._context(prompt)
        answer = HarnessAnswer(key=key, kind=AnswerKind.LIKELIHOOD)
        if context.exact:
            whole = await self._tokens(context.text + continuation, special=context.special)
            start = len(context.tokens)
        else:
            whole = [*context.rendered, *await self._tokens(continuation, special=False)]
            start = len(context.rendered)
        if not start:
            raise UserError(
                "the task asks for the likelihood of a text without context, for which the tokenizer has no token"
            )
        longest = self._max_model_len - 1  # the server generates one token
        cut = max(0, len(whole) - longest) if self._max_model_len else 0
        whole, start = whole[cut:], start - cut
        if start < 1:
            return _failed(answer, f"400: the continuation has more tokens than the server's limit of {longest}")
        body: Body = {"model": self._model, "prompt": whole, "max_tokens": 1, "temperature": 0, "prompt_logprobs": 1}
        found: tuple[float, bool] | None = None

        def is_valid(reply: httpx.Response) -> bool:
            nonlocal found
            found = read_likelihood(reply.content, whole, start)
            return found is not None

        reply = await self._server.post("completions", lambda: body, is_valid=is_valid)
        if reply.status_code >= HTTP_BAD_REQUEST:
            return _failed(answer, f"{reply.status_code}: {error_message(reply)}")
        if found is None:
            return _failed(answer, "the reply has no log-probabilities of the prompt: the server must be vLLM")
        tokens = {"prompt_tokens": len(whole), "completion_tokens": 1}
        return answer.model_copy(update={"logprob": found[0], "greedy": found[1], **tokens})

    async def _context(self, prompt: "Conversation | str") -> Context:
        name = prompt.json if isinstance(prompt, Conversation) else prompt
        task = self._contexts.get(name)
        if task is None:
            task = self._contexts[name] = asyncio.create_task(self._read_context(prompt))
            while len(self._contexts) > CONTEXTS:
                self._contexts.pop(next(iter(self._contexts)))
        return await asyncio.shield(task)

    async def _read_context(self, prompt: "Conversation | str") -> Context:
        if isinstance(prompt, str):
            return Context(prompt, await self._tokens(prompt.rstrip(), special=True), special=True)
        rendered = await self._post("/tokenize", {"add_special_tokens": False, **_conversation(prompt)}, "tokens")
        text = await self._post("/detokenize", {"tokens": rendered}, "prompt")
        exact = await self._tokens(text, special=False) == rendered
        tokens = await self._tokens(text.rstrip(), special=False)
        return Context(text, tokens, special=False, exact=exact, rendered=tuple(rendered))

    async def _tokens(self, text: str, *, special: bool) -> list[int]:
        found = await self._post("/tokenize", {"prompt": text, "add_special_tokens": special}, "tokens")
        return list(found)

    async def _post(self, path: str, fields: Body, wanted: str) -> Any:
        """Return a field of the reply to a request about tokens; these paths are beside ``/v1``."""
        value: Any = None

        def is_valid(reply: httpx.Response) -> bool:
            nonlocal value
            content = _object(reply.content)
            value = content.get(wanted)
            length = content.get("max_model_len")
            self._max_model_len = length if isinstance(length, int) else self._max_model_len
            return value is not None

        url = str(self._server.url(path))
        reply = await self._server.post(url, lambda: {"model": self._model, **fields}, is_valid=is_valid)
        if reply.status_code >= HTTP_BAD_REQUEST or value is None:
            raise InfrastructureError(f"{url} answered {reply.status_code}: {error_message(reply)}")
        return value


def read_likelihood(content: bytes, tokens: list[int], start: int) -> tuple[float, bool] | None:
    """Return the sum of the log-probabilities of the tokens from ``start``, and whether each is the likeliest.

    None if the reply does not have them. Source: vLLM, ``prompt_logprobs`` of a completion: a list with one object
    per token of the prompt, log-probabilities by token number.
    """
    choices = _object(content).get("choices")
    choice = choices[0] if isinstance(choices, list) and choices else None
    logprobs = choice.get("prompt_logprobs") if isinstance(choice, dict) else None
    if not isinstance(logprobs, list) or len(logprobs) != len(tokens):
        return None
    total, greedy = 0.0, True
    for token, found in zip(tokens[start:], logprobs[start:], strict=True):
        values = {name: one.get("logprob") for name, one in found.items() if isinstance(one, dict)} if found else {}
        own = values.get(str(token))
        if not isinstance(own, float | int):
            return None
        total += own
        greedy = greedy and own == max(value for value in values.values() if isinstance(value, float | int))
    return total, greedy


def _conversation(prompt: Conversation) -> Body:
    body: Body = {"messages": prompt.messages, "chat_template_kwargs": TEMPLATE_ARGUMENTS}
    if prompt.is_open:
        body |= {"add_generation_prompt": False, "continue_final_message": True}
    return body


def _object(content: bytes) -> dict[str, Any]:
    try:
        value = json.loads(content.decode("utf-8-sig", "replace"))
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def _as_chat(content: bytes) -> bytes:
    """Return a completion in the form of a chat completion."""
    value = _object(content)
    choices = value.get("choices")
    for choice in choices if isinstance(choices, list) else ():
        if isinstance(choice, dict) and "text" in choice:
            choice["message"] = {"content": choice["text"]}
    return json.dumps(value).encode()


def _failed(answer: HarnessAnswer, reason: str) -> HarnessAnswer:
    error = replace_surrogates(reason[:ERROR_CHARACTERS])
    return answer.model_copy(update={"finish_reason": "error", "error": error})
