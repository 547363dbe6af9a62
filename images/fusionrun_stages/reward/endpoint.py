"""A reward model behind HTTP: vLLM's ``/classify``, one conversation a request, one raw reward back.

Of vLLM's pooling interfaces this is the one that gives a whole conversation one number: ``/score`` compares two texts
and ``/pooling`` may answer for each token. The server puts the chat template on, and is told to leave out the sigmoid
that it would else put on a model with one label (``use_activation``).

Source: vLLM, ``ClassificationChatRequest`` and ``ClassificationResponse`` (vllm/entrypoints/pooling/classify).
"""

import asyncio
import math
import os
from collections.abc import Iterable, Sequence

import httpx

from fusionrun.api.parameters import RewardEndpointParameters
from fusionrun.api.records import MICRO
from fusionrun_stages.client.concurrency import Slots
from fusionrun_stages.client.server import HTTP_BAD_REQUEST, HTTP_SERVER_ERROR, Body, Server, message, watch
from fusionrun_stages.errors import InfrastructureError, StageError, UserError
from fusionrun_stages.models.chat_template import TEMPLATE_ARGUMENTS
from fusionrun_stages.reward.model import Store, Text

HTTP_TOO_LARGE = 413
TOO_LONG = "maximum context length"
"""How vLLM refuses a conversation longer than its model reads. Source: vllm/renderers/params.py."""


class RewardEndpoint:
    """Scores conversations with a server that is not the run's."""

    def __init__(self, parameters: RewardEndpointParameters, max_length: int) -> None:
        self._parameters = parameters
        self._max_length = max_length

    @property
    def details(self) -> dict[str, object]:
        """What the manifest says of the endpoint."""
        return {"endpoint": {"url": self._parameters.base_url, "model": self._parameters.model}}

    def length(self, prompt: str, answer: str) -> int:
        """Return the characters of a conversation: the tokens are known to the server alone."""
        return len(prompt) + len(answer)

    def score_all(self, batches: Iterable[tuple[int, Sequence[Text]]], store: Store) -> None:
        """Score numbered batches, as many requests at a time as the run allows; store each as it is done.

        Raises
        ------
        UserError
            If the endpoint refuses, or answers something else than one number.
        InfrastructureError
            If it keeps failing.
        ServerWedgedError
            If it is silent for too long.
        """
        try:
            asyncio.run(self._score_all(batches, store))
        except ExceptionGroup as several:
            ours, _ = several.split(StageError)
            raise (ours or several).exceptions[0] from several

    async def _score_all(self, batches: Iterable[tuple[int, Sequence[Text]]], store: Store) -> None:
        parameters, todo = self._parameters, iter(batches)
        most = parameters.concurrency
        api_key = os.environ.get(parameters.api_key_env) if parameters.api_key_env else None
        server = Server(parameters.base_url, api_key, Slots(most, most), most)

        async def worker() -> None:
            for number, batch in todo:
                store(number, [await self._score(server, prompt, answer) for prompt, answer in batch])

        try:
            async with asyncio.TaskGroup() as group:
                guard = group.create_task(watch(server.heartbeat, parameters.stall_seconds, "no score given"))
                await asyncio.wait([group.create_task(worker()) for _ in range(most)])
                guard.cancel()
        finally:
            await server.close()

    async def _score(self, server: Server, prompt: str, answer: str) -> int | None:
        body: Body = {
            "model": self._parameters.model,
            "messages": [{"role": "user", "content": prompt}, {"role": "assistant", "content": answer}],
            "use_activation": False,
            "add_generation_prompt": False,
            "chat_template_kwargs": TEMPLATE_ARGUMENTS,
        }
        async with server.slots.one():
            reply = await server.ask("classify", lambda: body)
        status = reply.status_code
        if status >= HTTP_SERVER_ERROR:
            raise InfrastructureError(f"{reply.request.url} answered {status}: {message(reply)}")
        if status == HTTP_TOO_LARGE or (status == HTTP_BAD_REQUEST and TOO_LONG in reply.text):
            return None
        if status >= HTTP_BAD_REQUEST:
            raise UserError(f"{reply.request.url} answered {status}: {message(reply)}")
        return self._read(reply)

    def _read(self, reply: httpx.Response) -> int | None:
        where = f"rewardModel.endpoint: {reply.request.url}"
        try:
            answer = reply.json()
            (data,) = answer["data"]
            numbers = [float(number) for number in data["probs"]]
            tokens = int((answer.get("usage") or {}).get("prompt_tokens") or 0)
        except (ValueError, KeyError, AttributeError, TypeError) as error:
            raise UserError(f"{where} gives no classification: {error!r} in {reply.text[:200]}") from error
        if len(numbers) != 1 or not math.isfinite(numbers[0]):
            raise UserError(f"{where} gives {numbers[:3]} ({len(numbers)} numbers), and a reward is one finite number")
        return None if tokens > self._max_length else round(numbers[0] * MICRO)
