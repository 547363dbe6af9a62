"""The data sets of a task from a hub: read once with the run's token, then without a network."""

import json
import re
from urllib.parse import unquote, urlsplit

import pytest

from fusionrun.api.tasks.harness import HarnessModel, HarnessTask, HarnessTasks
from fusionrun_stages.errors import UserError
from fusionrun_stages.harness.download import pin_task
from fusionrun_stages.harness.stage import measure_all, read_question_scores, read_score, result_files
from fusionrun_stages.volume.paths import dataset_folder
from support import hub
from support.harness import SUMS, server_of, serving, write_tasks


class Handler(hub.Handler):
    """Adds what ``datasets`` asks of a hub: single files that do not exist, and the sizes of files."""

    def answer(self):
        path = unquote(urlsplit(self.path).path)
        found = re.fullmatch(r"(?:/api)?/datasets/([^/]+/[^/]+)/(resolve|tree|paths-info)/[^/]+(?:/(.*))?", path)
        files = self.server.repositories["dataset", found[1]].files if found else {}
        self.server.paths.append(path)
        if found and found[2] == "paths-info":
            wanted = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["paths"]
            entry = {"type": "file", "oid": "a" * 40}
            return self.reply(200, [entry | {"path": p, "size": len(files[p])} for p in wanted if p in files])
        if found and found[3] and found[3] not in files:
            return self.reply(404, {"error": "Entry not found"}, {"X-Error-Code": "EntryNotFound"})
        return super().answer()

    do_GET = do_HEAD = do_POST = answer  # noqa: N815 -- names of http.server


@pytest.fixture
def repositories():
    server = hub.HubRepositories()
    server.RequestHandlerClass, server.paths = Handler, []
    rows = "".join(json.dumps(row) + "\n" for row in SUMS)
    server.add("dataset", "org/sums", {"test.jsonl": rows.encode()})
    with serving(server) as server.url:
        yield server


def test_a_data_set_of_a_hub(tmp_path, volume, repositories, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "token-of-the-run")
    tasks = write_tasks(tmp_path)
    settings = json.loads((tasks / "sums.yaml").read_text())
    del settings["dataset_kwargs"]
    for name in ("sums", "none"):
        own = settings | {"task": name, "dataset_path": f"org/{name}"}
        (tasks / f"{name}.yaml").write_text(json.dumps(own))
    field = "evaluation.benchmarks[0].task"
    with pytest.raises(UserError, match=r"benchmarks\[0\].task: 'org/none': not on the hub, or private"):
        pin_task(HarnessTask(name="b", task="none"), field, repositories.url, tasks)

    task = HarnessTask(name="b", task="sums")
    pin = pin_task(task, field, repositories.url, tasks)
    assert pin.commits == {"org/sums": "a" * 40}
    assert set(repositories.tokens) == {"Bearer token-of-the-run"}
    asked = len(repositories.paths)
    with serving(server_of()) as url:
        model = HarnessModel(base_url=f"{url}/v1", model="m", concurrency=2, stall_seconds=600)
        harness = HarnessTasks(tasks=[task], data={"b": str(dataset_folder(pin.pin))})
        monkeypatch.setattr("fusionrun_stages.harness.stage.measure", _with(tasks))
        (score,) = measure_all(tmp_path / "out", model, harness, "pod", lambda *_, **__: None)
    assert len(repositories.paths) == asked
    assert (score.score, score.questions) == (100, len(SUMS))
    assert read_score(tmp_path / "out", "b") == score
    assert sum(not row.metric for row in read_question_scores(tmp_path / "out", "b")) == len(SUMS)
    assert all((tmp_path / "out" / name).is_file() for name in result_files("b"))


def _with(tasks):
    from fusionrun_stages.harness.measure import measure

    return lambda *arguments: measure(*arguments, include=tasks)
