"""The model as lm-eval sees it: requests in, replies out, sent by the client of ``generate``.

lm-eval's own clients (``local-completions``, ``local-chat-completions``) are not used. They send every request again
after a restart unless it was in a cache by task, fail the whole task when one request fails three times, read proxies
of the environment for a server in the cluster, and need an endpoint (``/tokenizer_info``) that vLLM has only with an
extra argument. lm-eval asks no base class of a model that is given to ``evaluate``: it calls the methods below.
"""

import asyncio
import os
from collections import Counter
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from typing import Any, Self

from fusionrun.api.tasks.harness import AnswerKind, HarnessAnswer, HarnessModel
from fusionrun_stages.client.chat import sample_seed
from fusionrun_stages.client.counts import USELESS_MAX
from fusionrun_stages.client.sending import send
from fusionrun_stages.client.server import ModelServer
from fusionrun_stages.errors import InfrastructureError, UserError
from fusionrun_stages.harness.answers import StoredAnswers, key_of
from fusionrun_stages.harness.prompts import Conversation, request_settings
from fusionrun_stages.harness.server import REPLY_BYTES, HarnessServer
from fusionrun_stages.work import Report

Job = Callable[[HarnessServer], Coroutine[Any, Any, HarnessAnswer]]


class AnswerText(str):
    """A response, with its stored reply."""

    __slots__ = ("answer",)
    answer: HarnessAnswer

    def __new__(cls, answer: HarnessAnswer) -> Self:
        """Return the text of a reply."""
        text = super().__new__(cls, answer.text)
        text.answer = answer
        return text


class Likelihood(tuple[float, bool]):  # noqa: SLOT001 -- tuples can have no slots
    """The log-probability of a continuation and whether it is the likeliest one, with the stored reply."""

    answer: HarnessAnswer

    def __new__(cls, answer: HarnessAnswer) -> Self:
        """Return the values of a reply."""
        pair = super().__new__(cls, (answer.logprob, answer.greedy))
        pair.answer = answer
        return pair


class MeasuredModel:
    """A served model, for ``lm_eval.evaluator.evaluate``."""

    rank = 0
    world_size = 1
    tokenizer_name = ""
    """lm-eval's cache of requests is not used."""

    def __init__(
        self,
        model: HarnessModel,
        answers: StoredAnswers,
        report: Report,
        *,
        chat: bool,
        max_tokens: int | None,
        field: str,
    ) -> None:
        self._model = model
        self._answers = answers
        self._report = report
        self._chat = chat
        self._max_tokens = max_tokens
        self._field = field

    def apply_chat_template(self, chat_history: list[dict[str, str]], add_generation_prompt: bool = True) -> str:  # noqa: FBT001, FBT002 -- lm-eval's signature
        """Return a conversation as a text; the server renders it."""
        return Conversation.of(chat_history, is_open=not add_generation_prompt).json

    def generate_until(self, requests: Sequence[Any]) -> list[AnswerText]:
        """Return the response to each request."""
        seen = Counter[str]()
        wanted: list[tuple[str, int]] = []
        jobs: dict[tuple[str, int], Job] = {}
        for request in requests:
            context, kwargs = request.args[:2]
            settings = request_settings(kwargs, self._max_tokens, self._field)
            key = key_of(AnswerKind.TEXT, context, settings)
            # With temperature 0, identical requests have the same response; otherwise each is a sample of its own.
            index = seen[key] if settings["temperature"] else 0
            seen[key] += 1
            wanted.append((key, index))
            if settings["temperature"]:
                settings["seed"] = sample_seed(self._model.seed, "lm-eval", key, index)
            jobs[key, index] = self._text_job(key, index, context, settings)
        self._send(jobs)
        return [AnswerText(self._answer(key, index)) for key, index in wanted]

    def loglikelihood(self, requests: Sequence[Any]) -> list[Likelihood]:
        """Return the likelihood of each continuation."""
        wanted: list[tuple[str, int]] = []
        jobs: dict[tuple[str, int], Job] = {}
        for request in requests:
            context, continuation = request.args[:2]
            key = key_of(AnswerKind.LIKELIHOOD, context, continuation)
            wanted.append((key, 0))
            jobs[key, 0] = self._likelihood_job(key, context, continuation)
        self._send(jobs)
        return [Likelihood(self._answer(key, index)) for key, index in wanted]

    def _text_job(self, key: str, index: int, context: str, settings: Mapping[str, Any]) -> Job:
        return lambda server: server.text(key, index, self._prompt(context), settings)

    def _likelihood_job(self, key: str, context: str, continuation: str) -> Job:
        return lambda server: server.likelihood(key, self._prompt(context), continuation)

    def _prompt(self, context: str) -> "Conversation | str":
        # Requests for the likelihood of a text alone (mutual information) have no conversation.
        return Conversation(context) if self._chat and context else context

    def _answer(self, key: str, index: int) -> HarnessAnswer:
        answer = self._answers.find(key, index)
        assert answer is not None
        return answer

    def _send(self, jobs: Mapping[tuple[str, int], Job]) -> None:
        missing = [job for name, job in jobs.items() if self._answers.find(*name) is None]
        if missing:
            asyncio.run(self._send_missing(missing, len(jobs)))
        replies = [self._answer(*name) for name in jobs if self._answers.find(*name) is not None]
        self._raise_if_useless(replies)

    def _raise_if_useless(self, replies: Sequence[HarnessAnswer]) -> None:
        """Raise an error if no request succeeded; the stored replies are removed, so that a retry sends them again."""
        if not replies or any(reply.error is None for reply in replies):
            return
        self._answers.remove_files()
        message = f"{self._field}: none of {len(replies)} requests succeeded: {replies[-1].error}"
        rejected = all((reply.error or "").startswith("4") for reply in replies)
        raise UserError(message) if rejected else InfrastructureError(message)

    async def _send_missing(self, missing: Sequence[Job], total: int) -> None:
        model = self._model
        api_key = os.environ.get(model.api_key_env) if model.api_key_env else None
        done, failed = total - len(missing), 0

        def report() -> None:
            self._report(done, total, "requests")

        async def worker(queue: Iterator[Job], server: ModelServer, requests: HarnessServer) -> None:
            nonlocal done, failed
            while failed < USELESS_MAX or failed < done:
                async with server.concurrency.acquire():
                    job = next(queue, None)
                    if job is None:
                        return
                    answer = await job(requests)
                self._answers.add(answer)
                done += 1
                failed += answer.error is not None
                report()

        # A connection per request: the requests of one worker follow each other.
        server = ModelServer(
            model.base_url, api_key, model.concurrency, model.max_concurrency, REPLY_BYTES, external=False
        )
        queue = iter(missing)
        async with server:
            requests = HarnessServer(server, model.model)
            count = min(model.max_concurrency or model.concurrency, len(missing))
            workers = [worker(queue, server, requests) for _ in range(count)]
            await send(server, workers, self._answers.lines, report, model.stall_seconds)
