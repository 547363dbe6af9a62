"""Samples of a prompt, or whole conversations, from an OpenAI-compatible server."""

import hashlib
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any, Self

import httpx

from fusionrun.api.evaluation_records import Question
from fusionrun.api.records import Response
from fusionrun.api.tasks.responses import GenerateParameters, SamplingParameters
from fusionrun_stages.client.completions import Completion, Sample, read_completion
from fusionrun_stages.client.retries import ERROR_CHARACTERS, HTTP_BAD_REQUEST, Body, error_message
from fusionrun_stages.client.server import ModelServer
from fusionrun_stages.errors import UserError
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

CONTINUED = ("stop", "length")
"""Finish reasons of an answer after which the next turn is asked. Source: FastChat, ``gen_model_answer.py``, which also
goes on after a truncated answer."""
CONTINUE = {"add_generation_prompt": False, "continue_final_message": True}
"""vLLM's parameters of a request whose last message is the beginning of the response. The reply does not repeat it.

Source: vLLM, ChatCompletionRequest (vllm/entrypoints/openai/chat_completion/protocol.py).
"""


def sample_seed(run_seed: int, source: str, prompt_id: str, sample_index: int, turn: int = 0) -> int:
    """Return the 63-bit seed of one sample of a turn, counted from 0."""
    later = f"\0{turn}" if turn else ""
    digest = hashlib.sha256(f"{run_seed}\0{source}\0{prompt_id}{later}".encode()).digest()
    base = int.from_bytes(digest[:8]) >> 1
    return (base >> SEED_FREE_BITS << SEED_FREE_BITS) + sample_index


class ChatClient:
    """A client of one server with the sampling parameters of one source; an async context manager."""

    def __init__(self, parameters: GenerateParameters, api_key: str | None = None) -> None:
        self._parameters = parameters
        self._leave_out = {"chat_template_kwargs"} if parameters.external else set[str]()
        max_tokens = max(s.max_tokens for s in (parameters.sampling, *parameters.sampling_by_dataset.values()))
        longest = GROUP_SAMPLES * (SAMPLE_BYTES + max_tokens * TOKEN_BYTES)
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

    async def request(self, question: Question, samples: range) -> AsyncIterator[Response]:
        """Send one request for samples of a question, or one per sample if the server does not support ``n``.

        Yield the samples as they are received; the ``error`` of a failed sample has the reason. Each later turn of a
        question is one more request per sample, and the sample is yielded when all turns have ended.

        Raise UserError if the server would have to continue a response and is not vLLM.
        """
        async for row in self._first_turn(question, samples):
            yield await self._later_turns(question, row) if question.later_turns else row

    async def _first_turn(self, question: Question, samples: range) -> AsyncIterator[Response]:
        received = await self._complete(self._body(question, _first_messages(question), samples), len(samples))
        missing = []
        for position, index in enumerate(samples):
            sample = received.samples.get(position)
            if sample is not None and not sample.interrupted:
                sample = await self._continue_line(question, index, sample)
                yield self._row(question, index, sample, received.prompt_tokens)
            elif len(samples) == 1:
                yield self._row(question, index, sample or Sample(error=received.error))
            else:  # the server does not support n, or has not finished this sample
                missing.append(index)
        for index in missing:
            async for row in self._first_turn(question, range(index, index + 1)):
                yield row

    async def _continue_line(self, question: Question, index: int, sample: Sample) -> Sample:
        r"""Return the sample; continue it if a stop text ended it at the line break with which its prefill should end.

        Chat templates that trim messages, as those of Llama and Gemma do, remove that line break. The model then
        writes it itself, so that a stop text such as ``\n#`` ends a response that begins with a comment. With a
        template that keeps the line break, this continues a response that begins with an empty line.

        Source: transformers, ``render_jinja_template`` (utils/chat_template_utils.py), ``continue_final_message``.
        """
        prefill, stop = question.prefill or "", sample.stop_text or ""
        if sample.text or not prefill.endswith("\n") or not stop.startswith("\n"):
            return sample
        continued = question.model_copy(update={"prefill": prefill.rstrip("\n") + stop})
        received = await self._complete(self._body(continued, _first_messages(continued), range(index, index + 1)), 1)
        rest = received.samples.get(0)
        if rest is None or rest.interrupted:
            return Sample(error=(rest and rest.error) or received.error)
        tokens = sample.completion_tokens + rest.completion_tokens
        text = rest.text if rest.error is not None else stop[1:] + rest.text
        return replace(rest, text=text, completion_tokens=tokens)

    async def _later_turns(self, question: Question, row: Response) -> Response:
        """Return the sample with the answers to the later turns; a failed turn is the last one.

        The finish reason is ``length`` if any turn was truncated, unless one failed.
        """
        messages = _first_messages(question)
        answer, texts, truncated = (question.prefill or "") + row.text, list[str](), row.finish_reason == "length"
        if question.prefill is not None:
            messages.pop()
        for turn, text in enumerate(question.later_turns or (), start=1):
            if row.finish_reason not in CONTINUED:
                break
            messages += [_message("assistant", answer), _message("user", text)]
            samples = range(row.sample_index, row.sample_index + 1)
            received = await self._complete(self._body(question, messages, samples, turn), 1)
            sample = received.samples.get(0)
            if sample is None or sample.interrupted:
                sample = Sample(error=(sample and sample.error) or received.error)
            if sample.error is None:
                texts.append(sample.text)
            answer, truncated = sample.text, truncated or sample.finish_reason == "length"
            row = row.model_copy(
                update={
                    "finish_reason": "length" if truncated and sample.error is None else sample.finish_reason,
                    "prompt_tokens": row.prompt_tokens + (0 if sample.error else received.prompt_tokens),
                    "completion_tokens": row.completion_tokens + sample.completion_tokens,
                    "error": sample.error and sample.error[:ERROR_CHARACTERS],
                }
            )
        return row.model_copy(update={"later_texts": texts})

    async def _complete(self, body: Body, count: int) -> Completion:
        """Send a request for ``count`` samples until its reply is final."""
        received = Completion()

        def is_final(reply: httpx.Response) -> bool:
            nonlocal received
            received = read_completion(reply.content, count)
            return received.is_final

        reply = await self.server.post(
            "chat/completions", lambda: self._accepted(body), self._leave_out_rejected, is_final
        )
        if reply.status_code >= HTTP_BAD_REQUEST:
            return Completion(error=f"{reply.status_code}: {error_message(reply)}")
        return received

    def _body(self, question: Question, messages: list[dict[str, Any]], samples: range, turn: int = 0) -> Body:
        parameters, sampling = self._parameters, self._sampling(question)
        system = parameters.system_prompt if question.system is None else question.system
        if system is not None:
            messages = [_message("system", system), *messages]
        body = {
            "model": parameters.model,
            "messages": messages,
            "temperature": sampling.temperature,
            "top_p": sampling.top_p,
            "top_k": sampling.top_k,
            "repetition_penalty": sampling.repetition_penalty,
            "max_tokens": sampling.max_tokens,
            "n": len(samples),
            "seed": sample_seed(parameters.seed, parameters.source, question.prompt_id, samples[0], turn),
            # Otherwise only the total number of completion tokens is known.
            **({"return_token_ids": True} if len(samples) > 1 else {}),
            **({"stop": sampling.stop} if sampling.stop else {}),
            "chat_template_kwargs": TEMPLATE_ARGUMENTS,
        }
        if turn == 0 and question.prefill is not None:
            if parameters.external:
                raise UserError(
                    f"evaluation.benchmarks[{question.dataset}].prefill: {question.prefill!r}: only vLLM can continue "
                    f"the beginning of a response, and {parameters.base_url} is an external endpoint"
                )
            body |= CONTINUE
        if parameters.external:
            body = {name: value for name, value in body.items() if value not in NEUTRAL.get(name, ())}
        return body

    def _sampling(self, question: Question) -> SamplingParameters:
        sampling = self._parameters.sampling_by_dataset.get(question.dataset, self._parameters.sampling)
        if question.temperature is None:
            return sampling
        return sampling.model_copy(update={"temperature": question.temperature})

    def _accepted(self, body: Body) -> Body:
        return {name: value for name, value in body.items() if name not in self._leave_out}

    def _leave_out_rejected(self, reply: httpx.Response, body: Body) -> bool:
        """Leave out the neutral parameters that the error message names; return whether there are any."""
        rejected = {name for name, values in NEUTRAL.items() if body.get(name) in values and name in reply.text}
        self._leave_out |= rejected
        return bool(rejected)

    def _row(self, question: Question, index: int, sample: Sample, prompt_tokens: int = 0) -> Response:
        is_error = sample.error is not None
        return Response(
            prompt_id=question.prompt_id,
            dataset=question.dataset,
            source=self._parameters.source,
            sample_index=index,
            text=sample.text,
            reasoning=sample.reasoning,
            finish_reason=sample.finish_reason,
            prompt_tokens=0 if is_error else prompt_tokens,
            completion_tokens=sample.completion_tokens,
            error=sample.error and sample.error[:ERROR_CHARACTERS],
        )


def _first_messages(question: Question) -> list[dict[str, Any]]:
    """Return the messages of the first turn, without the system message."""
    messages = [message.model_dump() for message in question.messages]
    return messages if question.prefill is None else [*messages, _message("assistant", question.prefill)]


def _message(role: str, content: str) -> dict[str, Any]:
    return {"role": role, "content": content}
