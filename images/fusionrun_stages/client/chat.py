"""Ask an OpenAI-compatible server for samples of a prompt."""

import asyncio
import hashlib
from collections.abc import AsyncIterator
from typing import Any, Self

import httpx

from fusionrun.api.parameters import GenerateParameters
from fusionrun.api.records import Prompt, Response, replace_surrogates
from fusionrun_stages.client.concurrency import ADAPT_SECONDS, Queue, Slots
from fusionrun_stages.client.server import ERROR_CHARACTERS, HTTP_BAD_REQUEST, Body, Server, message
from fusionrun_stages.models.chat_template import TEMPLATE_ARGUMENTS

SEED_FREE_BITS = 8
"""Low bits of a seed that are zero: the sample's index goes there, as a server that is asked for n would add it.

Source: vLLM, ParentRequest (vllm/v1/engine/parallel_sampling.py), gives child i the seed plus i.
"""
METRICS_SECONDS = 5.0

NEUTRAL = {"top_k": (-1,), "repetition_penalty": (1.0,), "return_token_ids": (True,)}
"""Values of vLLM's own parameters that change no token: no endpoint is sent them, nor a server that minds them.

A ``top_k`` or ``repetition_penalty`` that does change tokens is sent to an endpoint, too: left out, it would be another
sampling than the one that was asked for.
"""


def sample_seed(run_seed: int, source: str, prompt_id: str, sample_index: int) -> int:
    """Return the 63-bit seed of one sample."""
    digest = hashlib.sha256(f"{run_seed}\0{source}\0{prompt_id}".encode()).digest()
    base = int.from_bytes(digest[:8]) >> 1
    return (base >> SEED_FREE_BITS << SEED_FREE_BITS) + sample_index


class Chat:
    """A client of one server with one source's sampling. Used as an async context manager."""

    def __init__(self, parameters: GenerateParameters, api_key: str | None = None) -> None:
        self._parameters = parameters
        self._leave_out = {"chat_template_kwargs"} if parameters.external else set[str]()
        most = parameters.max_concurrency or parameters.concurrency
        self.slots = Slots(parameters.concurrency, most)
        self._server = Server(parameters.base_url, api_key, self.slots, most)
        self.heartbeat, self.sent = self._server.heartbeat, self._server.sent
        # Of its own: the other's connections are all in use just when it matters.
        self._metrics = httpx.AsyncClient(timeout=METRICS_SECONDS)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._server.close()
        await self._metrics.aclose()

    async def ask(self, prompt: Prompt, samples: range) -> AsyncIterator[Response]:
        """Yield samples of one prompt as they come; a sample that there is none of says why in its ``error``.

        They are asked for in one request, or one by one of a server that knows no ``n``.

        Raises
        ------
        UserError
            If the server refuses every request of ours: a wrong key, model or path.
        """
        body = self._body(prompt, samples)
        reply = await self._server.ask("chat/completions", lambda: self._asked(body), self._learn, _is_completion)
        if reply.status_code >= HTTP_BAD_REQUEST:
            if len(samples) == 1:
                yield self._failed(prompt, samples[0], f"{reply.status_code}: {message(reply)}")
                return
            found = []  # a server may know no n
        else:
            found = self._read(prompt, samples, reply)
        for row in found:
            yield row
        for index in samples[len(found) :]:
            async for row in self.ask(prompt, range(index, index + 1)):
                yield row

    async def tokens_generated(self) -> float | None:
        """Return the server's own count of generated tokens, where it tells (vLLM's ``/metrics``), else None."""
        return (await self._told("vllm:generation_tokens_total")).get("vllm:generation_tokens_total")

    async def queue(self) -> Queue | None:
        """Return how many sequences run and wait in the server, where it tells (vLLM), else None.

        Of several servers behind one address it is one that answers: Kubernetes spreads requests evenly, so that one's
        queue is about every other's.
        """
        running, waiting = "vllm:num_requests_running", "vllm:num_requests_waiting"
        told = await self._told(running, waiting)
        return Queue(told[running], told[waiting]) if len(told) == 2 else None  # noqa: PLR2004 - both of them

    async def _told(self, *names: str) -> dict[str, float]:
        """Return metrics of a server of ours, each summed over its engines: those that it tells."""
        told: dict[str, float] = {}
        if self._parameters.external:
            return told
        try:
            reply = await self._metrics.get(self._server.url("/metrics"))
            for line in reply.text.splitlines():
                name = line.partition("{")[0].partition(" ")[0]
                if name in names:
                    told[name] = told.get(name, 0.0) + float(line.rsplit(" ", 1)[1])
        except (httpx.HTTPError, ValueError):
            return {}
        return told

    def _body(self, prompt: Prompt, samples: range) -> Body:
        parameters, sampling = self._parameters, self._parameters.sampling
        messages = [{"role": "user", "content": prompt.prompt}]
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
            # The only way to learn how long each of several samples is.
            **({"return_token_ids": True} if len(samples) > 1 else {}),
            "chat_template_kwargs": TEMPLATE_ARGUMENTS,
        }
        if parameters.external:
            body = {name: value for name, value in body.items() if value not in NEUTRAL.get(name, ())}
        return body

    def _asked(self, body: Body) -> Body:
        return {name: value for name, value in body.items() if name not in self._leave_out}

    def _learn(self, reply: httpx.Response, asked: Body) -> bool:
        """Tell whether the server only minds a parameter that may as well be left out, and leave it out."""
        text = reply.text
        minded = {name for name, values in NEUTRAL.items() if asked.get(name) in values and name in text}
        self._leave_out |= minded
        return bool(minded)

    def _failed(self, prompt: Prompt, sample_index: int, error: str) -> Response:
        return Response(
            prompt_id=prompt.prompt_id,
            dataset=prompt.dataset,
            source=self._parameters.source,
            sample_index=sample_index,
            text="",
            finish_reason="error",
            error=replace_surrogates(error[:ERROR_CHARACTERS]) or "unknown",
        )

    def _read(self, prompt: Prompt, samples: range, reply: httpx.Response) -> list[Response]:
        """Return the samples that a reply holds: at most as many as were asked for, at least one."""
        try:
            answer = reply.json()
            choices = sorted(answer["choices"], key=lambda choice: int(choice.get("index") or 0))[: len(samples)]
            usage = answer.get("usage") or {}
            tokens = _tokens_by_choice(choices, int(usage.get("completion_tokens") or 0))
            rows = []
            for sample_index, choice, completion_tokens in zip(samples, choices, tokens, strict=False):
                reason = choice["finish_reason"]
                if reason not in ("stop", "length"):
                    rows.append(self._failed(prompt, sample_index, f"finish_reason {reason}"))
                    continue
                rows.append(
                    Response(
                        prompt_id=prompt.prompt_id,
                        dataset=prompt.dataset,
                        source=self._parameters.source,
                        sample_index=sample_index,
                        text=replace_surrogates(choice["message"].get("content") or ""),
                        finish_reason=reason,
                        prompt_tokens=int(usage.get("prompt_tokens") or 0),
                        completion_tokens=completion_tokens,
                    )
                )
        except (ValueError, KeyError, AttributeError, TypeError) as error:
            rows = []
            why = f"{error!r}"
        else:
            why = "no choices"
        return rows or [self._failed(prompt, samples[0], f"not a chat completion: {why} in {reply.text[:200]}")]


def _is_completion(reply: httpx.Response) -> bool:
    """Tell whether a reply is a chat completion at all; what its choices say is another question."""
    try:
        return bool(reply.json()["choices"])
    except (ValueError, KeyError, TypeError):
        return False


def _tokens_by_choice(choices: list[dict[str, Any]], total: int) -> list[int]:
    """Return the tokens of each choice: counted, else an even share of the total."""
    if all(isinstance(choice.get("token_ids"), list) for choice in choices):
        return [len(choice["token_ids"]) for choice in choices]
    count = max(len(choices), 1)
    return [total // count + (index < total % count) for index in range(count)]


async def adapt(chat: Chat) -> None:
    """Return never; keep the server's queue just full."""
    while True:
        await asyncio.sleep(ADAPT_SECONDS)
        await chat.slots.see(await chat.queue())
