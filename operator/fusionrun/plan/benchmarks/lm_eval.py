"""Tasks of lm-eval among the benchmarks of a spec (docs/lm-eval.md)."""

from typing import Any

from fusionrun.api.spec.evaluation import Benchmark, Grader
from fusionrun.api.spec.run import FusionRunSpec
from fusionrun.api.tasks.harness import HarnessTask
from fusionrun.api.tasks.protocol import Protocol
from fusionrun.plan.benchmarks.preset import greedy

LM_EVAL = "lm-eval"
"""Start of the names of protocols."""
VERSION = 1
"""Version of the client. The scores have the versions of lm-eval and of the task."""
MAX_TOKENS = 256
"""Longest response unless the task or the spec names another. Source: lm-eval 0.4.13, ``_max_gen_toks`` of
``models/api_models.py``."""


def harness_task(benchmark: Benchmark) -> HarnessTask:
    """Return the task of lm-eval that a benchmark is."""
    return HarnessTask(
        name=benchmark.name,
        task=benchmark.task or "",
        few_shot=benchmark.few_shot,
        metric=benchmark.metric,
        chat_template=benchmark.chat_template is not False,
        max_tokens=benchmark.sampling.max_tokens if benchmark.sampling else None,
        max_prompts=benchmark.max_prompts,
    )


def harness_tasks(spec: FusionRunSpec) -> list[HarnessTask]:
    """Return the tasks of lm-eval of a spec."""
    return [harness_task(benchmark) for benchmark in spec.evaluation.benchmarks if benchmark.harness]


def with_questions(spec: FusionRunSpec) -> list[Benchmark]:
    """Return the benchmarks whose questions ``prepare`` reads: all but the tasks of lm-eval."""
    return [benchmark for benchmark in spec.evaluation.benchmarks if not benchmark.harness]


def task_digest(task: HarnessTask) -> dict[str, Any]:
    """Return what decides the requests of a task, besides its pin."""
    return task.model_dump(mode="json", by_alias=True, exclude_defaults=True, exclude={"name"})


def task_protocol(task: HarnessTask) -> Protocol:
    """Return the protocol of a task. ``evaluate`` reads its aggregation and metrics from the result.

    It is marked as modified unless lm-eval would measure the same: all questions, with the settings of the task.
    """
    changed = task_digest(task).keys() - {"task"}
    return Protocol(
        name=f"{LM_EVAL}/{task.task}",
        version=VERSION,
        modified=bool(changed),
        sampling=greedy(task.max_tokens or MAX_TOKENS),
        grader=Grader.LM_EVAL,
    )
