"""Samples of a prompt from an OpenAI-compatible server."""

import hashlib
from collections.abc import AsyncIterator
from typing import Self

import httpx

from fusionrun.api.parameters import GenerateParameters
from fusionrun.api.records import Prompt, Response
from fusionrun_stages.client.completions import Completion, Sample, read_completion
from fusionrun_stages.client.retries import ERROR_CHARACTERS, HTTP_BAD_REQUEST, Body, error_message
from fusionrun_stages.client.server import ModelServer
from fusionrun_stages.models.chat_template import TEMPLATE_ARGUMENTS

SEED_FREE_BITS = 8
"""Low bits of a seed that hold the sample index. A sample has the same seed in a request with ``n`` and in one without.

Source: vLLM, ParentRequest (vllm/v1/engine/parallel_sampling.py), gives child i the seed plus i.
"""
GROUP_SAMPLES = 16
"""Maximum samples of a prompt per request: the prompt is tokenized, queued and sent once. Measured with a tiny model on
two cores: four per request gave twice the tokens per second of one per request."""
SAMPLE_BYTES, TOKEN_BYTES = 2**20, 256
"""Most bytes of a sample, besides its text, and of a token. The longest tokens are runs of 128 characters; escaped, a
character has up to 6 bytes. Some servers do not count the reasoning as tokens: it is within ``SAMPLE_BYTES``."""

NEUTRAL = {"top_k": (-1,), "repetition_penalty": (1.0,), "return_token_ids": (True,)}
"""Values of vLLM's parameters that do not change the tokens. They are not sent to an external endpoint, nor to a server
that has rejected them. Any other ``top_k`` or ``repetition_penalty`` is sent: otherwise the sampling would differ."""


def sample_seed(run_seed: int, source: str, prompt_id: str, sample_index: int) -> int:
    """Return the 63-bit seed of one sample."""
    digest = hashlib.sha256(f"{run_seed}\0{source}\0{prompt_id}".encode()).digest()
    base = int.from_bytes(digest[:8]) >> 1
    return (base >> SEED_FREE_BITS << SEED_FREE_BITS) + sample_index


class ChatClient:
    """A client of one server with the sampling parameters of one source; an async context manager."""

    def __init__(self, parameters: GenerateParameters, api_key: str | None = None) -> None:
        self._parameters = parameters
        self._leave_out = {"chat_template_kwargs"} if parameters.external else set[str]()
        longest = GROUP_SAMPLES * (SAMPLE_BYTES + parameters.sampling.max_tokens * TOKEN_BYTES)
        self.server = ModelServer(
            parameters.base_url,
            api_key,
            parameters.concurrency,
            parameters.max_concurrency,
            longest,
            external=parameters.external,
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.server.__aexit__()

    async def request(self, prompt: Prompt, samples: range) -> AsyncIterator[Response]:
        """Send one request for samples of a prompt, or one per sample if the server does not support ``n``.

        Yield the samples as they are received; the ``error`` of a failed sample has the reason.
        """
        body = self._body(prompt, samples)
        received = Completion()

        def is_final(reply: httpx.Response) -> bool:
            nonlocal received
            received = read_completion(reply.content, len(samples))
            return received.is_final

        reply = await self.server.post(
            "chat/completions", lambda: self._accepted(body), self._leave_out_rejected, is_final
        )
        if reply.status_code >= HTTP_BAD_REQUEST:
            received = Completion(error=f"{reply.status_code}: {error_message(reply)}")
        missing = []
        for position, index in enumerate(samples):
            sample = received.samples.get(position)
            if sample is not None and not sample.interrupted:
                yield self._row(prompt, index, sample, received.prompt_tokens)
            elif len(samples) == 1:
                yield self._row(prompt, index, sample or Sample(error=received.error))
            else:  # the server does not support n, or has not finished this sample
                missing.append(index)
        for index in missing:
            async for row in self.request(prompt, range(index, index + 1)):
                yield row

    def _body(self, prompt: Prompt, samples: range) -> Body:
        parameters, sampling = self._parameters, self._parameters.sampling
        messages = [message.model_dump() for message in prompt.messages]
        if parameters.system_prompt is not None:
            messages.insert(0, {"role": "system", "content": parameters.system_prompt})
        body = {
            "model": parameters.model,
            "messages": messages,
            "temperature": sampling.temperature,
            "top_p": sampling.top_p,
            "top_k": sampling.top_k,
            "repetition_penalty": sampling.repetition_penalty,
            "max_tokens": sampling.max_tokens,
            "n": len(samples),
            "seed": sample_seed(parameters.seed, parameters.source, prompt.prompt_id, samples[0]),
            # Otherwise only the total number of completion tokens is known.
            **({"return_token_ids": True} if len(samples) > 1 else {}),
            "chat_template_kwargs": TEMPLATE_ARGUMENTS,
        }
        if parameters.external:
            body = {name: value for name, value in body.items() if value not in NEUTRAL.get(name, ())}
        return body

    def _accepted(self, body: Body) -> Body:
        return {name: value for name, value in body.items() if name not in self._leave_out}

    def _leave_out_rejected(self, reply: httpx.Response, body: Body) -> bool:
        """Leave out the neutral parameters that the error message names; return whether there are any."""
        rejected = {name for name, values in NEUTRAL.items() if body.get(name) in values and name in reply.text}
        self._leave_out |= rejected
        return bool(rejected)

    def _row(self, prompt: Prompt, index: int, sample: Sample, prompt_tokens: int = 0) -> Response:
        is_error = sample.error is not None
        return Response(
            prompt_id=prompt.prompt_id,
            dataset=prompt.dataset,
            source=self._parameters.source,
            sample_index=index,
            text=sample.text,
            reasoning=sample.reasoning,
            finish_reason=sample.finish_reason,
            prompt_tokens=0 if is_error else prompt_tokens,
            completion_tokens=sample.completion_tokens,
            error=sample.error and sample.error[:ERROR_CHARACTERS],
        )
