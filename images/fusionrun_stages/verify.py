"""verify: judge one source's responses of a shard with a rule-based grader: right, wrong or unknown.

Run: ``FUSIONRUN_TASK=task.json JOB_COMPLETION_INDEX=0 python -m fusionrun_stages verify``

For coding, ``python -m fusionrun_stages.sandbox.runner`` must run. Prompts and responses are sorted by prompt, so they
are joined and judged in batches: the memory of the pod does not limit the size of a shard.
"""

from collections import Counter

import pyarrow.parquet as pq

from fusionrun.api.artifacts import VERDICTS
from fusionrun.api.evaluation_records import Question
from fusionrun.api.records import Response, Verdict, VerdictValue
from fusionrun.api.results.values import Verified
from fusionrun.api.tasks.responses import VerifyParameters
from fusionrun_stages.grade import missing_module
from fusionrun_stages.grading.judging import isolation_details, join_responses, judge, make_batches, takes
from fusionrun_stages.volume.parquet import open_rows, read_rows
from fusionrun_stages.volume.paths import inside_volume, shard_path
from fusionrun_stages.work import Made, Work

READ_QUESTIONS = 8
"""Questions that are read at once: the tests of one may have several MiB."""
EXAMPLES = 5
"""Number of unknown verdicts in the manifest."""


def run(work: Work) -> Made:
    """Write ``verdicts/NNNNN-of-NNNNN.parquet``, sorted by prompt, source and sample."""
    parameters = work.parameters(VerifyParameters)
    shard = work.shard or 0
    prompts = shard_path(parameters.prompts_dir, shard, parameters.shards)
    responses = shard_path(parameters.responses_dir, shard, parameters.shards)
    questions = read_rows(prompts, Question, READ_QUESTIONS)
    joined = join_responses(questions, read_rows(responses, Response), parameters.datasets)
    joined = (one for one in joined if takes(parameters.grader, one.prompt))
    path = shard_path(work.output / VERDICTS, shard, parameters.shards)
    total = pq.read_metadata(inside_volume(responses)).num_rows
    verdicts, reasons, unknown = Counter[VerdictValue](), Counter[str](), list[Verdict]()
    modules = Counter[str]()
    with open_rows(path, Verdict) as writer:

        def report(judged: int) -> None:
            work.report(writer.count + judged, total, "responses")

        for batch in make_batches(joined):
            for row in judge(parameters.grader, batch, report):
                writer.append(row)
                verdicts[row.verdict] += 1
                if module := missing_module(row.detail):
                    modules[module] += 1
                if row.detail:
                    reasons[row.detail.split(":")[0]] += 1
                if row.verdict is VerdictValue.UNKNOWN and len(unknown) < EXAMPLES:
                    unknown.append(row)
            report(0)
    examples = [row.model_dump(mode="json") for row in unknown]
    return Made(
        values=Verified(**{value.value: verdicts[value] for value in VerdictValue}),
        files=[str(path.relative_to(work.output))],
        details={"reasons": dict(reasons.most_common(20)), "unknown": examples}
        | ({"missing_modules": dict(modules.most_common(20))} if modules else {})
        | isolation_details(parameters.grader, writer.count),
    )
