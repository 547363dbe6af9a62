"""Measure a served model on one task of lm-eval."""

import random
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fusionrun.api.artifacts import HARNESS, PARTS
from fusionrun.api.evaluation_records import QuestionScore
from fusionrun.api.tasks.harness import HarnessModel, HarnessPin, HarnessSample, HarnessScore, HarnessTask
from fusionrun_stages.errors import InfrastructureError, UserError
from fusionrun_stages.harness.answers import StoredAnswers
from fusionrun_stages.harness.catalogue import Catalogue, lm_eval_version
from fusionrun_stages.harness.download import COMPLETE
from fusionrun_stages.harness.loading import FEW_SHOT_SEED, LoadedTask, hash_documents, load_task
from fusionrun_stages.harness.model import MeasuredModel
from fusionrun_stages.harness.process import call
from fusionrun_stages.harness.scores import PERCENT, aggregate, answers_of, question_scores, stored_samples
from fusionrun_stages.volume.atomic import read_json, write_atomic
from fusionrun_stages.volume.parquet import write_rows
from fusionrun_stages.work import Report

RANDOM_SEED = 0
"""Source: lm-eval 0.4.13, ``lm_eval/defaults.py``, DEFAULT_RANDOM_SEED."""
AGREE = 1e-6
"""Largest difference from lm-eval's own score, in percentage points, unless requests failed."""


def measure(
    output: Path,
    task: HarnessTask,
    model: HarnessModel,
    data: Path,
    field: str,
    pod_uid: str,
    report: Report,
    include: Path | None = None,
) -> HarnessScore:
    """Measure a model on a task, unless an earlier pod of the stage has done so, and return the score.

    Parameters
    ----------
    output
        Folder of the artifact, with ``harness/<benchmark>.json``, ``.parquet`` (rows: ``HarnessSample``) and
        ``.scores.parquet`` (rows: ``QuestionScore``) at the end.
    task
        The task.
    model
        The served model.
    data
        Folder of the data sets, from ``pin_task``.
    field
        Field of the spec, for messages.
    pod_uid
        Distinguishes the replies that this pod stores from those of other pods.
    report
        Called with the progress.
    include
        Folder of tasks instead of those of the package.

    Raises
    ------
    StageError
        If the server rejects the requests or stalls, or if the data of the task cannot be used.
    """
    result = output / HARNESS / f"{task.name}.json"
    if not result.is_file():
        arguments = {
            "output": str(output),
            "task": task.model_dump(mode="json"),
            "model": model.model_dump(mode="json", include=set(HarnessModel.model_fields)),
            "folder": str(data),
            "field": field,
            "pod_uid": pod_uid,
            "include": str(include) if include else None,
        }
        call("measure", arguments, data, offline=True, report=report)
    return HarnessScore.model_validate(read_json(result))


def measure_task(
    output: Path,
    task: Mapping[str, Any],
    model: Mapping[str, Any],
    folder: Path,
    field: str,
    pod_uid: str,
    report: Report,
    include: Path | None,
) -> None:
    """Measure a model on a task and write the files; action of the process."""
    asked = HarnessTask.model_validate(task)
    pin = HarnessPin.model_validate(read_json(folder / COMPLETE))
    if pin.version != lm_eval_version():
        raise UserError(
            f"{field}: its data was read by lm-eval {pin.version}, and the image has {lm_eval_version()}: apply the "
            "run again, so that its references are resolved again"
        )
    loaded = load_task(Catalogue.open(include), asked, field)
    content = hash_documents(loaded.tasks)
    if content != pin.content:
        raise InfrastructureError(f"{field}: the questions differ from those that were pinned")
    served = HarnessModel.model_validate(model)
    with StoredAnswers(output / PARTS, asked.name, pod_uid) as answers:
        measured = MeasuredModel(
            served, answers, report, chat=asked.chat_template, max_tokens=asked.max_tokens, field=field
        )
        results = evaluate_task(measured, loaded, asked, served.seed)
        write_results(output / HARNESS, asked, loaded, results, content)
        answers.remove_files()


def evaluate_task(model: MeasuredModel, loaded: LoadedTask, task: HarnessTask, seed: int) -> dict[str, Any]:
    """Let lm-eval build the requests and grade the replies, with the seeds of its ``simple_evaluate``."""
    import numpy as np
    from lm_eval.evaluator import evaluate

    random.seed(RANDOM_SEED)
    np.random.seed(FEW_SHOT_SEED)  # noqa: NPY002 -- the code of tasks uses this generator
    chosen = _choose(loaded, task.max_prompts, seed)
    # Only tasks with questions: lm-eval takes an empty list for all questions.
    tasks = {name: one for name, one in loaded.tasks.items() if chosen is None or name in chosen}
    found = evaluate(
        lm=model,
        task_dict={"tasks": tasks, "groups": loaded.groups, "group_map": {}},
        samples=chosen,
        bootstrap_iters=0,
        log_samples=True,
        apply_chat_template=task.chat_template,
        fewshot_as_multiturn=task.chat_template,
    )
    results: dict[str, Any] = dict(found)
    return results


def _choose(loaded: LoadedTask, maximum: int | None, seed: int) -> dict[str, list[int]] | None:
    """Return the numbers of the chosen questions by task, a seeded sample over all tasks; None for all."""
    every = [(name, number) for name, task in loaded.tasks.items() for number in range(len(task.eval_docs))]
    if maximum is None or maximum >= len(every):
        return None
    chosen: dict[str, list[int]] = {}
    for name, number in sorted(random.Random(seed).sample(every, maximum)):  # noqa: S311 -- no secret
        chosen.setdefault(name, []).append(number)
    return chosen


def write_results(
    folder: Path, task: HarnessTask, loaded: LoadedTask, results: Mapping[str, Any], content: str
) -> None:
    """Write the three files, the score last: a pod with it has nothing to do."""
    samples = results["samples"]
    several = len(loaded.tasks) > 1
    scores = list(question_scores(task.name, loaded.metrics, samples, several=several))
    first = [row for row in scores if not row.metric]
    if not first:
        raise UserError(f"{task.name}: metric {loaded.metrics[0]}: lm-eval gives no question a value")
    value, groups = aggregate(first, loaded.aggregation)
    official = results["results"].get(task.task, {}).get(loaded.metrics[0])
    official = PERCENT * float(official) if isinstance(official, float | int) else None
    failed = sum(row.failed for row in first)
    if official is not None and not failed and abs(official - value) > AGREE:
        raise InfrastructureError(f"{task.name}: the score {value} differs from lm-eval's own, {official}")
    answers = {(a.key, a.sample_index): a for rows in samples.values() for one in rows for a in answers_of(one)}
    score = HarnessScore(
        benchmark=task.name,
        task=task.task,
        metric=loaded.metrics[0],
        metrics=loaded.metrics,
        aggregation=loaded.aggregation,
        score=value,
        official=official,
        groups=groups,
        questions=len(first),
        available=sum(len(one.eval_docs) for one in loaded.tasks.values()),
        truncated=sum(row.truncated for row in first),
        failed=failed,
        blank=sum(row.blank for row in first),
        requests=len(answers),
        prompt_tokens=sum(answer.prompt_tokens for answer in answers.values()),
        completion_tokens=sum(answer.completion_tokens for answer in answers.values()),
        few_shot=loaded.few_shot,
        versions={name: str(version) for name, version in results["versions"].items()},
        lm_eval=lm_eval_version(),
        content=content,
        modified=loaded.modified,
    )
    write_rows(folder / f"{task.name}.parquet", HarnessSample, stored_samples(task.name, samples))
    write_rows(folder / f"{task.name}.scores.parquet", QuestionScore, scores)
    write_atomic(folder / f"{task.name}.json", score.model_dump_json(indent=1).encode())
