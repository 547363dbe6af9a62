"""generate: request every sample of a shard's prompts from one source's server.

Run: ``FUSIONRUN_TASK=task.json JOB_COMPLETION_INDEX=0 python -m fusionrun_stages generate``

Each received sample is appended to ``parts/shard-NNNNN.<pod uid>.jsonl.part``. A successor reads the part files of all
predecessors and requests only the missing samples. A complete shard is ``responses/NNNNN-of-NNNNN.parquet``, sorted by
prompt and sample. Tasks of lm-eval follow (``harness``).
"""

import asyncio
import logging
import os
from collections.abc import Container, Iterator

from fusionrun.api.artifacts import PARTS, RESPONSES
from fusionrun.api.evaluation_records import Question
from fusionrun.api.records import Response, Verdict, VerdictValue
from fusionrun.api.results.values import Generated
from fusionrun.api.tasks.harness import HarnessModel, HarnessScore
from fusionrun.api.tasks.responses import GenerateParameters
from fusionrun_stages.client.chat import GROUP_SAMPLES, ChatClient
from fusionrun_stages.client.counts import QuotaShare, ResponseCounts, Throughput
from fusionrun_stages.client.metrics import ClientMetrics, MetricsCollector, client_metrics
from fusionrun_stages.client.sending import send_all
from fusionrun_stages.client.stored_responses import Sample, StoredResponses
from fusionrun_stages.errors import InfrastructureError, UserError
from fusionrun_stages.harness.stage import measure_all, result_files
from fusionrun_stages.volume.json_lines import JsonLines, part_file, part_files, remove_part_files
from fusionrun_stages.volume.parquet import read_rows, write_rows
from fusionrun_stages.volume.paths import shard_path
from fusionrun_stages.work import Made, Work

log = logging.getLogger(__name__)

UNUSED = ("answer", "tests", "entry_point", "preamble", "options", "references", "data")
"""Fields of a question that requests do not contain: the tests of one may have many MiB."""


def run(work: Work) -> Made:
    """Generate one shard."""
    parameters = work.parameters(GenerateParameters)
    shard = work.shard or 0
    final = shard_path(work.output / RESPONSES, shard, parameters.shards)
    parts = work.output / PARTS
    tally, rate = ResponseCounts(), Throughput()
    stored = StoredResponses(final, part_files(parts, shard))
    for row in stored.index():
        tally.add(row)
    sizes = [len(samples) for _, samples in missing_requests(parameters, shard, stored)]
    log.info("%s: %d samples are stored, %d are missing", parameters.source, len(stored), sum(sizes))
    total = len(stored) + sum(sizes)
    tally.requested = tally.rows
    if sizes:
        requests = missing_requests(parameters, shard, stored)
        lines = JsonLines(part_file(parts, shard, work.pod_uid))
        quota = QuotaShare.of(parameters.quota, parameters.shards, shard)
        workers = min(parameters.max_concurrency or parameters.concurrency, len(sizes))
        asyncio.run(request_all(work, parameters, requests, workers, total, quota, lines, tally, rate))
    if tally.quota_exceeded:
        raise UserError(
            f"sources[{parameters.source}].endpoint.quota.{tally.quota_exceeded}: used up with {tally.rows} of {total} "
            "samples stored: a run with a larger quota resumes"
        )
    if total and (not tally.answered or tally.has_no_text):
        # Remove the stored rows, so that a retry with a corrected server sends the requests again.
        remove_part_files(parts, shard)
        final.unlink(missing_ok=True)
        where = f"source {parameters.source!r}"
        if tally.answered:
            raise UserError(f"{where}: {tally.explain_blank(max_tokens_of(parameters))}")
        message = f"{where}: none of {tally.rows} requests succeeded: {tally.last_error}"
        raise UserError(message) if tally.rejected == tally.rows else InfrastructureError(message)
    if sizes:  # index the rows that this pod has added
        stored = StoredResponses(final, part_files(parts, shard))
        for _ in stored.index():
            pass
    write_rows(final, Response, stored.in_order())
    remove_part_files(parts, shard)
    measured = _measure(work, parameters)
    failed = [min(score.failed, score.requests) for score in measured]
    return Made(
        values=Generated(
            requests=tally.rows + sum(score.requests for score in measured),
            responses=tally.answered + sum(score.requests for score in measured) - sum(failed),
            truncated=tally.truncated + sum(score.truncated for score in measured),
            blank=tally.blank + sum(score.blank for score in measured),
            errors=tally.rows - tally.answered + sum(failed),
            prompt_tokens=tally.prompt_tokens + sum(score.prompt_tokens for score in measured),
            completion_tokens=tally.completion_tokens + sum(score.completion_tokens for score in measured),
            cost_micro=tally.cost_micro(parameters.prices) if parameters.prices else None,
            tokens_per_second=round(rate.mean, 3),
        ),
        files=[str(final.relative_to(work.output)), *(f for score in measured for f in result_files(score.benchmark))],
        details={"asked_by_this_pod": sum(sizes), "last_error": tally.last_error, "with_reasoning": tally.reasoning},
    )


def _measure(work: Work, parameters: GenerateParameters) -> list[HarnessScore]:
    """Measure the model on the tasks of lm-eval, if there are any."""
    if parameters.harness is None:
        return []
    model = HarnessModel(
        base_url=parameters.base_url,
        model=parameters.model,
        api_key_env=parameters.api_key_env,
        concurrency=parameters.concurrency,
        max_concurrency=parameters.max_concurrency,
        stall_seconds=parameters.stall_seconds,
        seed=parameters.seed,
    )
    return measure_all(work.output, model, parameters.harness, work.pod_uid, work.report)


def missing_requests(
    parameters: GenerateParameters, shard: int, stored: StoredResponses
) -> Iterator[tuple[Question, range]]:
    """Yield each request to send: a prompt or question and the indexes of missing samples.

    A coding prompt whose reference solution fails its tests is skipped. Source: FuseChat-3.0 keeps coding prompts "with
    test cases"; that the solution must pass them is this project's rule.
    """
    failed = set[str]()
    if parameters.solutions_verdicts_dir is not None:
        verdicts = read_rows(shard_path(parameters.solutions_verdicts_dir, shard, parameters.shards), Verdict)
        failed = {v.prompt_id for v in verdicts if v.verdict is not VerdictValue.RIGHT}
    path = shard_path(parameters.prompts_dir, shard, parameters.shards)
    for question in read_rows(path, Question, leave_out=UNUSED):
        count = 0 if question.prompt_id in failed else parameters.samples_per_prompt.get(question.dataset, 0)
        # A conversation in flight is lost with the pod, so each has its own request.
        longest = 1 if question.later_turns else GROUP_SAMPLES
        for samples in missing_samples(stored, question.prompt_id, count, longest):
            yield question, samples


def missing_samples(
    stored: Container[Sample], prompt_id: str, count: int, longest: int = GROUP_SAMPLES
) -> Iterator[range]:
    """Yield the ranges of sample indexes that are not stored, one per request: at most ``longest`` samples each."""
    start = 0
    for index in range(count + 1):
        is_stored = index == count or (prompt_id, index) in stored
        if (is_stored or index - start == longest) and index > start:
            yield range(start, index)
            start = index
        if is_stored:
            start = index + 1


async def request_all(
    work: Work,
    parameters: GenerateParameters,
    requests: Iterator[tuple[Question, range]],
    workers: int,
    total: int,
    quota: QuotaShare,
    lines: JsonLines,
    tally: ResponseCounts,
    rate: Throughput,
) -> None:
    """Send the requests, within the concurrency limit, and store each sample as it is received."""
    api_key = os.environ.get(parameters.api_key_env) if parameters.api_key_env else None

    async def worker(chat: ChatClient) -> None:
        while not tally.is_hopeless:
            async with chat.server.concurrency.acquire():
                question_and_samples = next(requests, None)
                if question_and_samples is None:
                    return
                question, samples = question_and_samples
                tally.requested += len(samples)
                if tally.check_quota(quota, parameters.prices):
                    return
                async for row in chat.request(question, samples):
                    lines.append(row)
                    tally.add(row)
                    rate.add(row.completion_tokens)
            report()

    def report() -> None:
        cost = {"cost_micro": tally.cost_micro(parameters.prices)} if parameters.prices else {}
        work.report(tally.rows, total, "samples", tokens_per_second=round(rate.recent, 1), **cost)

    async with ChatClient(parameters, api_key) as chat:

        def read() -> ClientMetrics:
            return client_metrics(chat.server, tally, rate, total, tally.quota_left(quota, parameters.prices))

        collector = MetricsCollector("generate", parameters.source, read)
        workers_of = [worker(chat) for _ in range(workers)]
        await send_all(chat.server, workers_of, lines, report, collector, parameters.stall_seconds)


def max_tokens_of(parameters: GenerateParameters) -> int:
    """Return the largest limit of the length of a response."""
    return max(sampling.max_tokens for sampling in (parameters.sampling, *parameters.sampling_by_dataset.values()))
