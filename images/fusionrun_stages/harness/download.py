"""Download the data sets of a task, so that later pods measure models without a network."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fusionrun.api.tasks.harness import HarnessPin, HarnessTask
from fusionrun_stages.errors import InfrastructureError, UserError
from fusionrun_stages.harness.catalogue import Catalogue, hub_datasets, lm_eval_version
from fusionrun_stages.harness.loading import hash_documents, load_task
from fusionrun_stages.harness.process import call
from fusionrun_stages.harness.questions import write_questions
from fusionrun_stages.remote.hub import hub_client, hub_errors
from fusionrun_stages.volume.atomic import read_json, write_atomic
from fusionrun_stages.volume.paths import dataset_folder
from fusionrun_stages.work import Report

COMPLETE = "data.json"
"""Written last, so that a folder with it is complete."""


def pin_task(task: HarnessTask, field: str, endpoint: str | None = None, include: Path | None = None) -> HarnessPin:
    """Check a task, download its data sets unless they are on the claim, and return its pin.

    ``datasets/<pin>`` is then the folder of its data. ``field`` is the field of the spec, for messages; ``include``, a
    folder of tasks instead of those of the package.

    Raises
    ------
    UserError
        If there is no such task, if it cannot be measured or not with these settings, or if its data cannot be read.
    InfrastructureError
        If the hub cannot be reached, or if a data set changed meanwhile.
    """
    asked: dict[str, Any] = {
        "task": task.model_dump(mode="json"),
        "field": field,
        "include": str(include) if include else None,
    }
    cache = dataset_folder("lm-eval")  # no data is read
    pin = HarnessPin.model_validate(call("describe", asked, cache, offline=False, endpoint=endpoint))
    folder = dataset_folder(pin.pin)
    if not (folder / COMPLETE).is_file():
        first = asked | {"commits": pin.commits, "questions": str(folder)}
        call("load", first, folder, offline=False, endpoint=endpoint)
        # Without the network: what a later pod would miss is missed here, where a message can name the field.
        loaded = call("load", asked, folder, offline=True)
        complete = pin.model_copy(update=loaded)
        write_atomic(folder / COMPLETE, complete.model_dump_json(indent=1).encode())
    elif task.few_shot is not None or task.metric is not None:
        call("load", asked, folder, offline=True)  # another run has read the data; this one may ask for other settings
    return HarnessPin.model_validate(read_json(folder / COMPLETE))


def describe(task: Mapping[str, Any], field: str, include: Path | None, report: Report) -> dict[str, Any]:
    """Return the pin of a task; action of the process."""
    del report
    name = HarnessTask.model_validate(task).task
    catalogue = Catalogue.open(include)
    catalogue.check(name, field)
    commits = _commits(hub_datasets(catalogue.leaves(name)), field)
    version = lm_eval_version()
    settings = json.dumps([name, version, list(catalogue.leaves(name)), commits], sort_keys=True, default=str)
    settings = settings.replace(_package_folder(), "lm_eval")
    pin = HarnessPin(pin=hashlib.sha256(settings.encode()).hexdigest(), version=version, commits=commits)
    return pin.model_dump(mode="json")


def load_data(
    task: Mapping[str, Any],
    field: str,
    include: Path | None,
    report: Report,
    commits: Mapping[str, str] | None = None,
    questions: Path | None = None,
) -> dict[str, Any]:
    """Load the data of a task into the folder; return the hash and the number of its questions. Action of the process.

    With ``commits``, the network is used: what is missing is downloaded, and the data sets must still have them.
    ``questions`` is the folder to write the texts of the questions to.
    """
    del report
    catalogue, asked = Catalogue.open(include), HarnessTask.model_validate(task)
    loaded = load_task(catalogue, asked, field)
    if commits is not None and _commits(hub_datasets(catalogue.leaves(asked.task)), field) != commits:
        raise InfrastructureError(f"{field}: {asked.task!r}: a data set changed on the hub while it was read")
    if questions is not None:
        write_questions(questions, loaded.tasks)
    return {"content": hash_documents(loaded.tasks), "documents": sum(len(t.eval_docs) for t in loaded.tasks.values())}


def _commits(datasets: Mapping[str, str | None], field: str) -> dict[str, str]:
    if not datasets:
        return {}
    client, commits = hub_client(None), {}
    for name, revision in sorted(datasets.items()):
        with hub_errors(field, name):
            commits[name] = client.dataset_info(name, revision=revision).sha
    return commits


def _package_folder() -> str:
    import lm_eval

    if lm_eval.__file__ is None:
        raise UserError("lm-eval is not installed as a folder of files")
    return str(Path(lm_eval.__file__).parent)
