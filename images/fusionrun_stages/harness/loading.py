"""Load a task of lm-eval with its data, and choose the metrics that are its score."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from fusionrun.api.tasks.harness import HarnessTask
from fusionrun.api.tasks.protocol import Aggregation
from fusionrun_stages.errors import StageError, UserError, classify
from fusionrun_stages.harness.catalogue import Catalogue

FEW_SHOT_SEED = 1234
"""Seed of the choice of examples. Source: lm-eval 0.4.13, ``lm_eval/defaults.py``, DEFAULT_OTHER_SEED."""
NO_FILTER = "none"


@dataclass
class LoadedTask:
    """The tasks of a name, ready to build requests."""

    tasks: dict[str, Any]
    """lm-eval's ``Task`` by name."""
    groups: dict[str, Any]
    """lm-eval's ``Group`` by name; empty for a task and for a tag."""
    metrics: list[str]
    """``metric,filter`` of each mean over the questions; the score is the first."""
    aggregation: Aggregation
    modified: bool = False
    """Whether the spec changes what lm-eval would measure."""
    few_shot: dict[str, int] = field(default_factory=dict)


def load_task(catalogue: Catalogue, task: HarnessTask, where: str) -> LoadedTask:
    """Load a task, group or tag with its data.

    Raises
    ------
    UserError
        If its code or data cannot be loaded, if the number of examples is fixed, or if no metric is a mean over the
        questions.
    """
    catalogue.check(task.task, where)
    try:
        found = catalogue.manager.load([task.task])
    except StageError:
        raise
    except ModuleNotFoundError as error:
        raise UserError(
            f"{where}: {task.task!r}: needs the Python package {error.name}, which the image lacks"
        ) from error
    except (ValueError, KeyError, TypeError, AttributeError, RuntimeError, NotImplementedError) as error:
        raise UserError(f"{where}: {task.task!r}: lm-eval cannot load it: {_line(error)}") from error
    except Exception as error:
        raise classify(error) from error
    tasks, groups = found["tasks"], found.get("groups", {})
    for name, one in tasks.items():
        if getattr(one, "UNSAFE_CODE", False) or getattr(one, "MULTIMODAL", False):
            raise UserError(f"{where}: {task.task!r}: task {name!r} runs programs, or has images or sound")
    few_shot = {name: set_few_shot(one, task.few_shot, f"{where}: {name!r}") for name, one in tasks.items()}
    top = groups.get(task.task)
    metrics = choose_metrics(tasks, top, task.metric, f"{where}: {task.task!r}")
    changes = (task.few_shot, task.metric, task.max_tokens, task.max_prompts)
    return LoadedTask(
        tasks,
        groups,
        metrics,
        score_aggregation(top, metrics[0], len(tasks)),
        not task.chat_template or any(change is not None for change in changes),
        few_shot,
    )


def _line(error: BaseException) -> str:
    return str(error).strip().partition("\n")[0] or type(error).__name__


def set_few_shot(task: Any, number: int | None, where: str) -> int:
    """Set the number of examples and the seed of their choice, as lm-eval's ``simple_evaluate``."""
    own = task.get_config("num_fewshot")
    if number is not None and own == 0 and number != 0:
        raise UserError(f"{where}: fewShot: {number}: the task is defined without examples")
    chosen = number if number is not None else own or 0
    task.set_config("num_fewshot", chosen)
    task.set_fewshot_seed(seed=FEW_SHOT_SEED)
    return int(chosen)


def choose_metrics(tasks: Mapping[str, Any], group: Any, wanted: str | None, where: str) -> list[str]:
    """Return the metrics that are means over the questions and better if higher, that of the score first.

    The score is ``wanted``, or else the first metric of the group's list, or else the first metric and filter of the
    first task. Only metrics of every task are returned.

    Raises
    ------
    UserError
        If there is none, or if ``wanted`` is none of them.
    """
    listed = [_mean_metrics(task) for task in tasks.values()]
    common = [name for name in listed[0] if all(name in other for other in listed[1:])]
    preferred = [wanted] if wanted else _group_metrics(group)
    for name in preferred:
        first = next((one for one in common if one == name or one.partition(",")[0] == name), None)
        if first is not None:
            return [first, *(one for one in common if one != first)]
    if wanted:
        raise UserError(f"{where}: metric: {wanted!r}: must be one of {', '.join(common) or 'none'}")
    if not common:
        raise UserError(
            f"{where}: no metric is a mean over the questions of every task that is better if higher; a score of the "
            "whole data set (such as F1 or BLEU) has no interval and no paired test"
        )
    return common


def _mean_metrics(task: Any) -> list[str]:
    from lm_eval.api.metrics import mean

    filters = [one["name"] for one in task.get_config("filter_list") or []] or [NO_FILTER]
    higher = task.higher_is_better()
    names = [name for name, function in task.aggregation().items() if function is mean and higher.get(name, True)]
    return [f"{name},{one}" for name in names for one in filters]


def _group_metrics(group: Any) -> list[str]:
    """Return the group's metrics, with their filters if it names any."""
    names: list[str] = []
    for one in getattr(group, "aggregate_metric_list", None) or []:
        names += [f"{one.metric},{name}" for name in one.filter_list] if one.filter_list else [one.metric]
    return names


def score_aggregation(group: Any, metric: str, tasks: int) -> Aggregation:
    """Return how lm-eval averages the tasks of a group. It gives a tag no average: here, each task counts the same."""
    for one in getattr(group, "aggregate_metric_list", None) or []:
        if one.metric == metric.partition(",")[0]:
            return Aggregation.MEAN if one.weight_by_size else Aggregation.GROUP_MEANS
    return Aggregation.GROUP_MEANS if tasks > 1 else Aggregation.MEAN


def hash_documents(tasks: Mapping[str, Any]) -> str:
    """Hash the questions of all tasks, by name and in order."""
    digest = hashlib.sha256()
    for name, task in sorted(tasks.items()):
        digest.update(f"{name}\0".encode())
        for document in task.eval_docs:
            digest.update(json.dumps(document, sort_keys=True, default=str).encode())
            digest.update(b"\n")
    return digest.hexdigest()
