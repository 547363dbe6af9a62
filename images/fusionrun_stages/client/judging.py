"""Requests to a judge: their bodies and keys, and the client that sends them."""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Self

import httpx

from fusionrun.api.artifacts import canonical
from fusionrun.api.records import Message
from fusionrun.api.tasks.evaluation import JudgeParameters
from fusionrun.api.tasks.protocol import JudgeRequest
from fusionrun_stages.client.chat import SAMPLE_BYTES, TOKEN_BYTES
from fusionrun_stages.client.completions import Completion, Sample, read_completion
from fusionrun_stages.client.retries import HTTP_BAD_REQUEST, Body, error_message
from fusionrun_stages.client.server import ModelServer
from fusionrun_stages.errors import UserError
from fusionrun_stages.models.chat_template import TEMPLATE_ARGUMENTS

UNLIMITED_TOKENS = 32_768
"""Tokens of the longest reply that is read if the protocol has no limit. Source: the largest ``sampling.maxTokens``."""
MAX_TOKENS, MAX_COMPLETION_TOKENS = "max_tokens", "max_completion_tokens"
"""Newer models of OpenAI accept only the second name for the same limit. Source: OpenAI, API reference, "Create chat
completion"; their error is 400 ``unsupported_parameter`` and names the other field."""
REQUIRED = ("temperature", "logprobs", "top_logprobs")
"""Fields of a request without which the scores would be those of another protocol."""
REJECTED_CODES = ("unsupported_parameter", "unsupported_value")
"""Codes of a 400 that names a field in ``error.param``. Source: OpenAI, API error codes."""


def request_body(parameters: JudgeParameters, sampling: JudgeRequest, messages: Iterable[Message]) -> Body:
    """Return the body of a request. It has no seed: the judges of the protocols are asked without one."""
    body: Body = {
        "model": parameters.model,
        "messages": [{"role": message.role, "content": message.content} for message in messages],
        "temperature": sampling.temperature,
    }
    if sampling.max_tokens is not None:
        body[MAX_TOKENS] = sampling.max_tokens
    if sampling.top_logprobs is not None:
        body |= {"logprobs": True, "top_logprobs": sampling.top_logprobs}
    if not parameters.external:
        body["chat_template_kwargs"] = TEMPLATE_ARGUMENTS
    return body


def request_key(parameters: JudgeParameters, body: Body) -> str:
    """Return the SHA-256 hash of judge, messages and sampling, as 64 hexadecimal digits.

    The address of a judge that the run serves is not part of it: the pin of its model is part of the artifact's digest.
    """
    judge = parameters.base_url if parameters.external else ""
    return hashlib.sha256(f"{judge}\0{canonical(body)}".encode()).hexdigest()


@dataclass(frozen=True)
class JudgeReply:
    """The only sample of a reply, or its error."""

    sample: Sample
    prompt_tokens: int = 0
    model: str | None = None
    """The judge, by its own name."""


class JudgeClient:
    """A client of the judge; an async context manager. ``requests``: the sampling of every protocol."""

    def __init__(self, parameters: JudgeParameters, requests: Sequence[JudgeRequest], api_key: str | None) -> None:
        self.server = ModelServer(
            parameters.base_url,
            api_key,
            parameters.concurrency,
            parameters.max_concurrency,
            max((_reply_bytes(request) for request in requests), default=SAMPLE_BYTES),
            external=parameters.external,
        )
        self._limit = MAX_TOKENS

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.server.__aexit__()

    async def ask(self, body: Body) -> JudgeReply:
        """Send a request until its reply is final.

        Raises
        ------
        UserError
            If the judge rejects the sampling of the protocol, or would reject every request.
        """
        received = Completion()

        def is_final(reply: httpx.Response) -> bool:
            nonlocal received
            received = read_completion(reply.content, 1)
            return received.is_final

        reply = await self.server.post("chat/completions", lambda: self._accepted(body), self._rename_limit, is_final)
        if reply.status_code >= HTTP_BAD_REQUEST:
            return JudgeReply(Sample(error=f"{reply.status_code}: {error_message(reply)}"))
        sample = received.samples.get(0)
        if sample is None or (sample.interrupted and sample.error is None):
            return JudgeReply(Sample(error=received.error or "the server did not finish the reply"))
        return JudgeReply(sample, 0 if sample.error is not None else received.prompt_tokens, received.model)

    def _accepted(self, body: Body) -> Body:
        if self._limit == MAX_TOKENS or MAX_TOKENS not in body:
            return body
        return {self._limit if name == MAX_TOKENS else name: value for name, value in body.items()}

    def _rename_limit(self, reply: httpx.Response, body: Body) -> bool:
        """Rename the token limit if the judge asks for its other name; the sampling stays the same."""
        if reply.status_code != HTTP_BAD_REQUEST:
            return False
        if MAX_TOKENS in body and MAX_COMPLETION_TOKENS in reply.text:
            self._limit = MAX_COMPLETION_TOKENS
            return True
        rejected = _rejected_field(reply)
        if rejected in REQUIRED and rejected in body:
            raise UserError(
                f"evaluation.judge: {body['model']} rejects {rejected} = {body[rejected]}, which the protocol of a "
                f"benchmark requires; use another judge: {error_message(reply)}"
            )
        return False


def _reply_bytes(request: JudgeRequest) -> int:
    tokens = request.max_tokens or UNLIMITED_TOKENS
    return SAMPLE_BYTES + tokens * TOKEN_BYTES * (1 + (request.top_logprobs or 0))


def _rejected_field(reply: httpx.Response) -> str:
    """Return the field that an error of the OpenAI API names as unsupported; empty if there is none."""
    try:
        error = reply.json()["error"]
        return str(error["param"]) if error["code"] in REJECTED_CODES else ""
    except (ValueError, KeyError, TypeError, RecursionError):
        return ""
