"""From lm-eval's verdicts to the scores of questions."""

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from fusionrun.api.evaluation_records import QuestionScore
from fusionrun.api.records import replace_surrogates
from fusionrun.api.tasks.harness import HarnessAnswer, HarnessSample
from fusionrun.api.tasks.protocol import Aggregation
from fusionrun_stages.errors import UserError
from fusionrun_stages.harness.model import AnswerText, Likelihood

PERCENT = 100.0
ID_DIGITS = 16


def prompt_id(task: str, sample: Mapping[str, Any]) -> str:
    """Return the id of a question: lm-eval's hash of the document, and its number, since documents may be equal."""
    return f"{task}:{sample['doc_id']}:{sample['doc_hash'][:ID_DIGITS]}"


def question_scores(
    benchmark: str, metrics: Sequence[str], samples: Mapping[str, Sequence[Mapping[str, Any]]], *, several: bool
) -> Iterator[QuestionScore]:
    """Yield the score of each question by each metric, in percent.

    A question with a failed request has the score 0, as in every other benchmark: lm-eval would take the failure for a
    response.

    Parameters
    ----------
    benchmark
        Name of the benchmark.
    metrics
        ``metric,filter``; rows of the first have the empty name.
    samples
        lm-eval's samples by task: one per question and filter.
    several
        Whether the benchmark has several tasks, which are then the groups.

    Raises
    ------
    UserError
        If a value is no share from 0 to 1.
    """
    for number, name in enumerate(metrics):
        metric, _, filter_name = name.partition(",")
        for task, rows in samples.items():
            for sample in rows:
                if sample["filter"] != filter_name or metric not in sample:
                    continue
                answers = answers_of(sample)
                failed = sum(answer.error is not None for answer in answers)
                texts = [answer.text for answer in answers if answer.error is None]
                is_text = any(isinstance(reply, AnswerText) for replies in sample["resps"] for reply in replies)
                yield QuestionScore(
                    benchmark=benchmark,
                    metric=name if number else "",
                    prompt_id=prompt_id(task, sample),
                    group=task if several else None,
                    score=0.0 if failed else PERCENT * _share(sample[metric], f"{benchmark}: metric {name} of {task}"),
                    responses=len(answers) if is_text else 1,
                    truncated=sum(answer.finish_reason == "length" for answer in answers),
                    failed=failed if is_text else min(failed, 1),
                    blank=sum(not text.strip() for text in texts) if is_text else 0,
                    characters=round(sum(map(len, texts)) / len(texts)) if is_text and texts else 0,
                )


def answers_of(sample: Mapping[str, Any]) -> list[HarnessAnswer]:
    """Return the stored replies to the requests of a question."""
    replies = [reply for group in sample["resps"] for reply in group]
    return [reply.answer for reply in replies if isinstance(reply, AnswerText | Likelihood)]


def _share(value: Any, where: str) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError) as error:
        raise UserError(f"{where}: {value!r:.100}: must be a number") from error
    if not math.isfinite(number) or not 0.0 <= number <= 1.0:
        raise UserError(f"{where}: {number:g}: must be a share from 0 to 1; choose another metric")
    return number


def aggregate(scores: Sequence[QuestionScore], aggregation: Aggregation) -> tuple[float, dict[str, float]]:
    """Return the score of the benchmark and of each group, in percent."""
    groups: dict[str, list[float]] = {}
    for row in scores:
        if row.score is not None:
            groups.setdefault(row.group or "", []).append(row.score)
    means = {name: math.fsum(values) / len(values) for name, values in groups.items()}
    if aggregation is Aggregation.GROUP_MEANS:
        score = math.fsum(means.values()) / len(means)
    else:
        score = math.fsum(value for values in groups.values() for value in values) / sum(map(len, groups.values()))
    return score, {name: mean for name, mean in means.items() if name}


def stored_samples(benchmark: str, samples: Mapping[str, Sequence[Mapping[str, Any]]]) -> Iterator[HarnessSample]:
    """Yield lm-eval's samples as rows."""
    for task, rows in samples.items():
        for sample in rows:
            yield HarnessSample(
                benchmark=benchmark,
                task=task,
                doc_id=sample["doc_id"],
                prompt_id=prompt_id(task, sample),
                filter=sample["filter"],
                requests=[_json(list(arguments)) for arguments in sample["arguments"]],
                responses=[_json(list(replies)) for replies in sample["resps"]],
                extracted=_json(sample["filtered_resps"]),
                target=_json(sample["target"]),
                metrics=_json({name: sample[name] for name in sample["metrics"]}),
            )


def _json(value: Any) -> str:
    return replace_surrogates(json.dumps(value, ensure_ascii=False, default=_plain))


def _plain(value: Any) -> Any:
    """Return a value of numpy as one of Python, and any other value as text."""
    item = getattr(value, "item", None)
    if callable(item):
        try:
            return item()
        except ValueError:
            pass
    return str(value)
