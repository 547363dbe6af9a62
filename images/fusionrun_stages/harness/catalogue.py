"""Find a task of lm-eval by its name, and refuse those that cannot be measured by requests to a server alone."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from importlib.metadata import version
from pathlib import Path
from typing import Any

from fusionrun_stages.errors import UserError

NEAR_NAMES = 5
PACKAGED = frozenset({"arrow", "csv", "generator", "json", "pandas", "parquet", "sql", "text", "webdataset", "xml"})
"""Data sets that are formats of files, and no repositories. Source: Hugging Face datasets 5, ``packaged_modules``."""

LOCAL = ("/", ".", "~")
"""Beginnings of the path of a local data set."""


def lm_eval_version() -> str:
    """Return the version of the installed package."""
    return version("lm-eval")


@dataclass(frozen=True)
class Catalogue:
    """The tasks of the package, or those of a folder."""

    manager: Any
    """lm-eval's ``TaskManager``."""

    @classmethod
    def open(cls, include: Path | None = None) -> "Catalogue":
        """Read the index of all tasks of the package, which takes several seconds, or of a folder."""
        from lm_eval.tasks import TaskManager

        return cls(TaskManager(include_path=str(include) if include else None, include_defaults=include is None))

    def check(self, name: str, field: str) -> None:
        """Check a task before its data is read.

        Raises
        ------
        UserError
            If there is no such task, or if it runs programs, needs images or sound, or measures the likelihood of
            whole documents.
        """
        if name not in self.manager.task_index:
            near = get_close_matches(name, self.manager.all_tasks, NEAR_NAMES, 0.6)
            hint = f"; near names: {', '.join(near)}" if near else ""
            raise UserError(f"{field}: {name!r}: no task, group or tag of lm-eval {lm_eval_version()}{hint}")
        for leaf in self.leaves(name):
            reason = refusal(leaf)
            if reason is not None:
                raise UserError(f"{field}: {name!r}: task {leaf.get('task')!r} {reason}")

    def leaves(self, name: str) -> Iterator[dict[str, Any]]:
        """Yield the settings of each task of a task, group or tag, as its file has them."""
        yield from self._leaves(name, {}, frozenset())

    def _leaves(self, name: str, overrides: Mapping[str, Any], above: frozenset[str]) -> Iterator[dict[str, Any]]:
        entry = self.manager.task_index.get(name)
        if entry is None:  # defined inside its group
            yield {**overrides, "task": name}
        elif entry.cfg is None:  # a tag
            for one in sorted(entry.tags):
                yield from self._leaves(one, overrides, above | {name})
        elif "group" in entry.cfg:
            yield from self._members(entry.cfg, overrides, above | {name})
        else:
            yield {**entry.cfg, **overrides}

    def _members(
        self, group: Mapping[str, Any], overrides: Mapping[str, Any], above: frozenset[str]
    ) -> Iterator[dict[str, Any]]:
        members = group.get("task") or []
        for item in members if isinstance(members, list) else [members]:
            below = dict(item) if isinstance(item, Mapping) else {"task": item}
            child = below.get("group")
            if child is not None and child not in self.manager.task_index:
                yield from self._members(below, overrides, above)
                continue
            child = child or below.get("task")
            changes = {key: value for key, value in below.items() if key not in ("group", "task")}
            if isinstance(child, str) and child not in above:
                yield from self._leaves(child, {**overrides, **changes}, above)


def refusal(settings: Mapping[str, Any]) -> str | None:
    """Return why a task cannot be measured; None if nothing in its settings is against it."""
    if settings.get("unsafe_code"):
        return "runs programs that a model wrote, which only the sandbox may; use grader Coding, or a preset"
    if settings.get("doc_to_image") or settings.get("doc_to_audio"):
        return "has images or sound; models are asked in text"
    if settings.get("output_type") == "loglikelihood_rolling":
        return "measures the likelihood of whole documents (perplexity), which is no share of right answers"
    if (settings.get("generation_kwargs") or {}).get("num_beams", 1) != 1:
        return "searches with several beams, which the server does not"
    return None


def hub_datasets(leaves: Iterator[dict[str, Any]]) -> dict[str, str | None]:
    """Return the repositories of the tasks' data sets, with the revision if a task names one."""
    found: dict[str, str | None] = {}
    for leaf in leaves:
        path = leaf.get("dataset_path")
        if isinstance(path, str) and path not in PACKAGED and not path.startswith(LOCAL):
            found[path] = (leaf.get("dataset_kwargs") or {}).get("revision")
    return found
