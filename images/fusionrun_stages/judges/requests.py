"""The requests to a judge on the responses of a shard, with what is stored of the replies."""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

from fusionrun.api.evaluation_records import Judgement, Question
from fusionrun.api.records import Response
from fusionrun.api.tasks.evaluation import JudgeParameters
from fusionrun.api.tasks.protocol import JudgeRequest
from fusionrun_stages.client.completions import Sample
from fusionrun_stages.client.judging import JudgeReply, request_body, request_key
from fusionrun_stages.client.retries import ERROR_CHARACTERS, Body
from fusionrun_stages.client.stored_judgements import Asked, StoredJudgements, asked
from fusionrun_stages.errors import InfrastructureError
from fusionrun_stages.grading.judging import join_responses
from fusionrun_stages.judges.protocol import Call, JudgeProtocol, Reply
from fusionrun_stages.volume.parquet import read_rows
from fusionrun_stages.volume.paths import shard_path


@dataclass(frozen=True)
class JudgedBenchmark:
    """A benchmark whose responses are judged."""

    name: str
    protocol: JudgeProtocol
    sampling: JudgeRequest
    shows_examples: bool = True


@dataclass(frozen=True)
class JudgedResponse:
    """A response to judge."""

    benchmark: JudgedBenchmark
    question: Question
    response: Response

    @property
    def calls(self) -> list[Call]:
        """The first requests on it, by number."""
        return sorted(self.benchmark.protocol.calls(self.question, self.response), key=lambda call: call.number)


def judged_responses(
    parameters: JudgeParameters, shard: int, benchmarks: Mapping[str, JudgedBenchmark]
) -> Iterator[JudgedResponse]:
    """Yield the responses of a shard that are judged, sorted by question and sample.

    A failed request of the evaluated model is no response, so it is not judged.
    """
    questions = read_rows(shard_path(parameters.prompts_dir, shard, parameters.shards), Question)
    responses = read_rows(shard_path(parameters.responses_dir, shard, parameters.shards), Response)
    for one in join_responses(questions, responses, benchmarks):
        assert isinstance(one.prompt, Question)
        for response in sorted(one.responses, key=lambda response: response.sample_index):
            if response.finish_reason != "error":
                yield JudgedResponse(benchmarks[one.prompt.dataset], one.prompt, response)


@dataclass(frozen=True)
class Request:
    """One request to the judge."""

    parameters: JudgeParameters
    judged: JudgedResponse
    call: Call

    @cached_property
    def body(self) -> Body:
        """The body of the request."""
        return request_body(self.parameters, self.judged.benchmark.sampling, self.call.messages)

    @cached_property
    def key(self) -> str:
        """SHA-256 hash of judge, messages and sampling."""
        return request_key(self.parameters, self.body)

    @property
    def name(self) -> Asked:
        """What identifies the request among those that are stored."""
        return asked(self.key, self.call.attempt)

    def row(self, reply: JudgeReply) -> Judgement:
        """Return the row of a reply."""
        sample = reply.sample
        reads_logprobs = self.judged.benchmark.sampling.top_logprobs is not None and sample.error is None
        return Judgement(
            prompt_id=self.judged.response.prompt_id,
            source=self.judged.response.source,
            sample_index=self.judged.response.sample_index,
            call=self.call.number,
            attempt=self.call.attempt,
            key=self.key,
            model=reply.model,
            text=sample.text,
            logprobs=json.dumps(sample.logprobs, ensure_ascii=False) if reads_logprobs else None,
            finish_reason=sample.finish_reason,
            error=sample.error and sample.error[:ERROR_CHARACTERS],
            prompt_tokens=reply.prompt_tokens,
            completion_tokens=sample.completion_tokens,
        )

    def copied(self, row: Judgement, *, with_tokens: bool) -> Judgement:
        """Return the stored reply to an identical request as the reply to this one."""
        identity = self.row(JudgeReply(Sample()))
        names = ("prompt_id", "source", "sample_index", "call", "attempt")
        tokens = {} if with_tokens else {"prompt_tokens": 0, "completion_tokens": 0}
        return row.model_copy(update={name: getattr(identity, name) for name in names} | tokens)


@dataclass(frozen=True)
class ShardRequests:
    """The requests on the responses of one shard."""

    parameters: JudgeParameters
    shard: int
    benchmarks: Mapping[str, JudgedBenchmark]

    def first(self) -> Iterator[Request]:
        """Yield the first request of every call, sorted by question, sample and call."""
        for judged in judged_responses(self.parameters, self.shard, self.benchmarks):
            for call in judged.calls:
                yield Request(self.parameters, judged, call)

    def next(self, request: Request, row: Judgement) -> Request | None:
        """Return the request that follows a reply; None if the call is complete.

        A request that failed has been sent again by the client: no protocol asks again.
        """
        if row.finish_reason == "error":
            return None
        call = request.judged.benchmark.protocol.next_attempt(request.call, reply_of(row))
        return Request(self.parameters, request.judged, call) if call else None

    def replay(self, request: Request, stored: StoredJudgements) -> Iterator[tuple[Request, Judgement | None]]:
        """Yield the requests of a call with their stored replies; None for the first one that is not stored."""
        current: Request | None = request
        while current is not None:
            row = stored.find(current.name)
            yield current, row
            current = self.next(current, row) if row else None


def complete_rows(requests: ShardRequests, stored: StoredJudgements) -> Iterator[Judgement]:
    """Yield the rows of a complete shard, sorted by question, sample, call and attempt.

    The tokens of a reply to several identical requests are in the first of its rows.

    Raises
    ------
    InfrastructureError
        If a reply is not stored.
    """
    counted = set[Asked]()
    for first in requests.first():
        for request, row in requests.replay(first, stored):
            if row is None:
                where = f"{request.judged.benchmark.name}: prompt {request.judged.response.prompt_id}"
                raise InfrastructureError(f"{where}: the judge's reply to call {request.call.number} is not stored")
            yield request.copied(row, with_tokens=request.name not in counted)
            counted.add(request.name)


def reply_of(row: Judgement) -> Reply:
    """Return a stored reply as a protocol reads it."""
    return Reply(row.text, json.loads(row.logprobs) if row.logprobs else {}, row.finish_reason)


def last_replies(rows: Iterable[Judgement]) -> dict[int, Reply]:
    """Return the last reply to each call on one response, from rows sorted by call and attempt."""
    return {row.call: reply_of(row) for row in rows}
