"""A reward model behind HTTP: vLLM's ``/classify``, one conversation per request, one raw reward per reply.

Of vLLM's pooling APIs only ``/classify`` returns one number per conversation: ``/score`` compares two texts, and
``/pooling`` may return one value per token. The server applies the chat template. ``use_activation`` is off: vLLM
would apply a sigmoid to the output of a model with one label.

Source: vLLM, ``ClassificationChatRequest`` and ``ClassificationResponse`` (vllm/entrypoints/pooling/classify).
"""

import asyncio
import math
import os
from collections.abc import Iterable, Sequence

import httpx

from fusionrun.api.records import MICRO
from fusionrun.api.tasks.responses import RewardEndpointParameters
from fusionrun_stages.client.concurrency import ConcurrencyLimit
from fusionrun_stages.client.heartbeat import watch_for_stall
from fusionrun_stages.client.retries import (
    HTTP_BAD_REQUEST,
    HTTP_SERVER_ERROR,
    Body,
    RetryingClient,
    error_message,
    rejected,
)
from fusionrun_stages.client.workers import run_workers
from fusionrun_stages.errors import InfrastructureError, UserError
from fusionrun_stages.models.chat_template import TEMPLATE_ARGUMENTS
from fusionrun_stages.reward.messages import PromptTurns, to_messages
from fusionrun_stages.reward.model import PromptResponse, StoreScores

HTTP_TOO_LARGE = 413
TOO_LONG = "maximum context length"
"""Part of vLLM's error for a conversation longer than the model's context. Source: vllm/renderers/params.py."""


class RewardEndpoint:
    """A scorer of conversations that uses an external server."""

    def __init__(self, parameters: RewardEndpointParameters, max_length: int) -> None:
        self._parameters = parameters
        self._max_length = max_length

    @property
    def details(self) -> dict[str, object]:
        """The endpoint, for the manifest."""
        return {"endpoint": {"url": self._parameters.base_url, "model": self._parameters.model}}

    def length(self, prompt: PromptTurns, response: str) -> int:
        """Return the characters of a conversation: only the server knows the tokens."""
        return sum(len(message["content"]) for message in to_messages(prompt, response))

    def score_all(self, batches: Iterable[tuple[int, Sequence[PromptResponse]]], store: StoreScores) -> None:
        """Score numbered batches with up to ``concurrency`` requests in flight; store each complete batch."""
        asyncio.run(self._score_all(batches, store))

    async def _score_all(self, batches: Iterable[tuple[int, Sequence[PromptResponse]]], store: StoreScores) -> None:
        parameters, pending = self._parameters, iter(batches)
        count = parameters.concurrency
        api_key = os.environ.get(parameters.api_key_env) if parameters.api_key_env else None
        client = RetryingClient(parameters.base_url, api_key, ConcurrencyLimit(count, count), count)

        async def worker() -> None:
            for number, batch in pending:
                store(number, [await self._score(client, prompt, response) for prompt, response in batch])

        try:
            monitor = watch_for_stall(client.heartbeat, parameters.stall_seconds, "no score returned")
            await run_workers([worker() for _ in range(count)], monitor)
        finally:
            await client.close()

    async def _score(self, client: RetryingClient, prompt: PromptTurns, response: str) -> int | None:
        body: Body = {
            "model": self._parameters.model,
            "messages": to_messages(prompt, response),
            "use_activation": False,
            "add_generation_prompt": False,
            "chat_template_kwargs": TEMPLATE_ARGUMENTS,
        }
        async with client.concurrency.acquire():
            reply = await client.post("classify", lambda: body, is_valid=_has_data)
        status = reply.status_code
        if status >= HTTP_SERVER_ERROR:
            raise InfrastructureError(f"{reply.request.url} answered {status}: {error_message(reply)}")
        if status == HTTP_TOO_LARGE or (status == HTTP_BAD_REQUEST and TOO_LONG in reply.text):
            return None
        if status >= HTTP_BAD_REQUEST:
            raise rejected(reply)
        return self._read(reply)

    def _read(self, reply: httpx.Response) -> int | None:
        where = f"rewardModel.endpoint: {reply.request.url}"
        try:
            classification = reply.json()
            (data,) = classification["data"]
            numbers = [float(number) for number in data["probs"]]
            tokens = int((classification.get("usage") or {}).get("prompt_tokens") or 0)
        except (ValueError, KeyError, AttributeError, TypeError, OverflowError, RecursionError) as error:
            raise UserError(f"{where} returned no classification: {error!r} in {reply.text[:200]}") from error
        if len(numbers) != 1 or not math.isfinite(numbers[0]):
            raise UserError(
                f"{where} returned {numbers[:3]} ({len(numbers)} numbers): a reward must be one finite number"
            )
        return None if tokens > self._max_length else round(numbers[0] * MICRO)


def _has_data(reply: httpx.Response) -> bool:
    """Return whether a reply is from a server of classifications, unlike the page of a proxy."""
    try:
        return "data" in reply.json()
    except (ValueError, TypeError, RecursionError):
        return False
