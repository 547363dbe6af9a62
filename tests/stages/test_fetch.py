import json
import re

import pytest

from fusionrun.api.artifacts import dataset_dir
from fusionrun.api.stage import Reference
from fusionrun_stages import fetch, prepare, resolve
from fusionrun_stages.cards.declared import read_licence
from fusionrun_stages.errors import InfrastructureError, UserError
from fusionrun_stages.pod import downloads
from fusionrun_stages.resolving import needs
from fusionrun_stages.volume.paths import dataset_folder, on_volume
from support.download_hub import COMMITS, DownloadHub
from support.http_server import serving
from support.model_folders import make_model
from support.stage import make_work


@pytest.fixture
def hub(tmp_path, monkeypatch):
    monkeypatch.setenv("FUSIONRUN_MOUNT", str(tmp_path / "data"))
    (tmp_path / "data").mkdir()
    monkeypatch.delenv("HF_TOKEN", raising=False)
    for name in ("HF_HUB_OFFLINE", "HF_TOKEN_PATH"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HF_HUB_DISABLE_XET", "1")
    folder = make_model(tmp_path / "upstream")
    files = {p.name: p.read_bytes() for p in folder.iterdir()} | {"pytorch_model.bin": b"pickle"}
    server = DownloadHub()
    with serving(server) as server.url:
        server.repos["models", "org/tiny"] = [files, files | {"config.json": b'{"model_type": "llama", "x": 1}'}]
        server.repos["datasets", "org/math"] = [
            {
                "README.md": b'---\nlicense: "mit \\ud83d"\n---\n',
                "data/train.jsonl": b'{"problem": "1 + 1", "answer": "2"}\n',
                "data/test.jsonl": b"{}\n",
            }
        ]
        monkeypatch.setenv("HF_ENDPOINT", server.url)
        yield server


def work(tmp_path, kind, name="x", **parameters):
    return make_work(tmp_path / "out", {"kind": kind, **parameters}, f"{kind}/{name}")


def do_resolve(tmp_path, *references, endpoint=None):
    return resolve.run(work(tmp_path, "resolve", references=references, stages=[], hub_endpoint=endpoint))


def model(name="org/tiny", revision=None, field="sources[a].served.model"):
    return Reference(field=field, kind="model", uri=f"hf://{name}", revision=revision)


def dataset(columns=("problem", "answer")):
    return Reference(field="datasets[m]", kind="dataset", uri="hf://org/math", columns=list(columns))


def test_a_branch_is_pinned_to_its_commit(tmp_path, hub):
    assert do_resolve(tmp_path, model(), model(revision=COMMITS[0])).values.pins == ["b" * 12, "a" * 12]


def test_fetch_downloads_the_pinned_commit_after_the_branch_moved(tmp_path, hub):
    newest = hub.repos["models", "org/tiny"].pop()
    (pin,) = do_resolve(tmp_path, model(revision="main")).values.pins
    hub.repos["models", "org/tiny"].append(newest)
    destination = tmp_path / "data" / "fusionrun" / "models" / pin
    parameters = {"uri": "hf://org/tiny", "revision": "main", "destination": str(destination)}
    made = fetch.run(work(tmp_path, "fetch", **parameters))
    assert (destination / "config.json").read_bytes() == b'{"model_type": "llama"}'
    assert not (destination / "pytorch_model.bin").exists()
    assert made.values.files == len(made.files) == 4
    assert all((tmp_path / "out" / name).resolve().is_file() for name in made.files)
    hub.requests.clear()
    fetch.run(work(tmp_path, "fetch", **parameters))
    assert not [path for command, path in hub.requests if command == "GET" and "/resolve/" in path]


SHARD = "model-00001-of-00001.safetensors"


def test_weights_are_fetched_in_one_format_and_counted_in_bytes(tmp_path, hub, monkeypatch):
    monkeypatch.setattr(downloads, "POLL_SECONDS", 0.01)
    files = hub.repos["models", "org/tiny"][0]
    files[SHARD] = files.pop("model.safetensors")
    files["model.safetensors.index.json"] = json.dumps({"weight_map": {"w": SHARD}}).encode()
    others = ["consolidated.safetensors", "original/consolidated.00.safetensors", "params.json", "original/params.json"]
    files |= dict.fromkeys(others, b"{}" * 500)
    made = do_resolve(tmp_path, model(revision=COMMITS[0]))
    assert made.details["references"][0]["weights_bytes"] == len(files[SHARD])
    destination, reports = tmp_path / "data" / "m", []
    parameters = {"kind": "fetch", "uri": "hf://org/tiny", "revision": COMMITS[0], "destination": str(destination)}
    report = lambda *numbers, **_: reports.append(numbers)  # noqa: E731
    fetch.run(make_work(tmp_path / "out", parameters, "fetch/x", report=report))
    fetched = {
        str(p.relative_to(destination)) for p in destination.rglob("*") if p.is_file() and ".cache" not in p.parts
    }
    assert fetched == set(files) - {*others, "pytorch_model.bin"}
    total = sum(len(files[name]) for name in fetched)
    assert reports[-1] == (total, total, "bytes")
    assert reports == sorted(reports)


def test_an_index_without_weights_is_refused_before_anything_is_fetched(tmp_path, hub):
    hub.repos["models", "org/tiny"][1]["model.safetensors.index.json"] = b"[]"
    with pytest.raises(
        UserError, match=r"sources\[a\].served.model: 'hf://org/tiny': model.safetensors.index.json: has no"
    ):
        do_resolve(tmp_path, model())


def test_a_hub_of_the_run_has_pins_and_folders_of_its_own(tmp_path, hub):
    (pin,) = do_resolve(tmp_path, model(revision=COMMITS[0]), endpoint=hub.url).values.pins
    assert pin != COMMITS[0][:12]
    assert do_resolve(tmp_path, model(revision=COMMITS[0]), endpoint=hub.url + "/").values.pins == [pin]
    destination = tmp_path / "data" / "fusionrun" / "models" / pin
    fetch.run(work(tmp_path, "fetch", uri="hf://org/tiny", destination=str(destination), hub_endpoint=hub.url))
    assert (destination / "config.json").read_bytes() == b'{"model_type": "llama"}'


def test_a_file_with_another_hash_than_the_hubs_is_deleted(tmp_path, hub):
    destination = tmp_path / "data" / "m"
    parameters = {"uri": "hf://org/tiny", "revision": COMMITS[0], "destination": str(destination)}
    hub.hashes["model.safetensors"] = "0" * 64
    with pytest.raises(
        InfrastructureError, match=r"model\.safetensors: its SHA-256 is not the one that the hub states"
    ):
        fetch.run(work(tmp_path, "fetch", **parameters))
    assert not (destination / "model.safetensors").exists()
    hub.hashes.clear()
    fetch.run(work(tmp_path, "fetch", **parameters))
    hub.hashes["data/train.jsonl"] = "0" * 64
    with pytest.raises(InfrastructureError, match="SHA-256"):
        do_resolve(tmp_path, dataset())


def test_a_truncated_upstream_model_is_refused(tmp_path, hub):
    files = hub.repos["models", "org/tiny"][0]
    files["model.safetensors"] = files["model.safetensors"][:-1]
    destination = tmp_path / "data" / "m"
    with pytest.raises(UserError, match="truncated"):
        fetch.run(work(tmp_path, "fetch", uri="hf://org/tiny", revision=COMMITS[0], destination=str(destination)))


def test_resolve_downloads_a_data_set_and_prepare_reads_it_offline(tmp_path, hub):
    made = do_resolve(tmp_path, dataset())
    assert made.values.pins == ["a" * 12]
    assert made.details["references"][0]["licence"] == read_licence(dataset_folder("a" * 12)) == "mit \ufffd"
    hub.requests.clear()
    data = {"name": "m", "task": "Mathematics", "uri": "hf://org/math", "revision": made.values.pins[0]}
    data["columns"] = {"prompt": "problem", "answer": "answer"}
    assert prepare.run(work(tmp_path, "prepare", datasets=[data], shards=1, seed=1)).values.prompts == 1
    assert hub.requests == []


def test_resolve_downloads_every_visible_file_of_a_preset_of_benchmarks(tmp_path, hub):
    hub.repos["datasets", "org/math"][0][".gitattributes"] = b"x"
    pin = do_resolve(tmp_path, dataset(()).model_copy(update={"all_files": True})).values.pins[0]
    folder = on_volume(dataset_dir(pin))
    found = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    assert {name for name in found if not name.startswith(".")} == {"README.md", "data/train.jsonl", "data/test.jsonl"}
    assert ".gitattributes" not in found


@pytest.mark.parametrize(
    ("reference", "message"),
    [
        (model("org/none"), r"sources\[a\]\.served\.model: 'hf://org/none@main': not on the hub"),
        (model(revision="nope"), "no such revision on the hub"),
        (dataset(["gold"]), r"datasets\[m\]: column 'gold': missing in data/train.jsonl, which has: problem, answer"),
    ],
)
def test_a_missing_repository_revision_or_column_is_a_user_error(tmp_path, hub, reference, message):
    with pytest.raises(UserError, match=message):
        do_resolve(tmp_path, reference)


def test_an_unreachable_hub_is_an_infrastructure_error(tmp_path, hub):
    with pytest.raises(InfrastructureError, match="cannot reach the hub"):
        do_resolve(tmp_path, model(), endpoint="http://127.0.0.1:9")


def give_space(monkeypatch, free):
    monkeypatch.setattr(needs, "free_bytes", lambda: free)


def test_a_run_that_does_not_fit_the_volume_is_refused(tmp_path, hub, monkeypatch):
    give_space(monkeypatch, 10)
    with pytest.raises(UserError, match="GB free"):
        do_resolve(tmp_path, model())


def test_downloaded_models_need_no_more_space(tmp_path, hub, monkeypatch):
    (pin,) = do_resolve(tmp_path, model()).values.pins
    destination = tmp_path / "data" / "fusionrun" / "models" / pin
    fetch.run(work(tmp_path, "fetch", uri="hf://org/tiny", destination=str(destination)))
    give_space(monkeypatch, 10)
    assert do_resolve(tmp_path, model()).values.pins == [pin]
    (destination / "model.safetensors").unlink()
    with pytest.raises(UserError, match="GB more"):
        do_resolve(tmp_path, model())


def test_a_model_with_two_roles_needs_its_space_once(tmp_path, hub, monkeypatch):
    give_space(monkeypatch, len(hub.repos["models", "org/tiny"][-1]["model.safetensors"]) + 1)
    assert len(do_resolve(tmp_path, model(), model(field="sources[b].served.model")).values.pins) == 2


def without_template(hub, **more):
    files = hub.repos["models", "org/tiny"][-1]
    del files["chat_template.jinja"]
    files.update({name.replace("_json", ".json"): content for name, content in more.items()})


@pytest.mark.parametrize(
    ("field", "subject"), [("target.model", "target"), ("evaluateOnly.models[a].model", "eval-a")], ids=str
)
@pytest.mark.parametrize("more", [{}, {"tokenizer_config_json": b'{"model_max_length": 9}'}], ids=["no file", "no key"])
def test_an_evaluated_model_without_a_chat_template_is_refused(tmp_path, hub, more, field, subject):
    without_template(hub, **more)
    message = f"{field}: 'hf://org/tiny@main': its tokenizer has no chat template"
    with pytest.raises(UserError, match=re.escape(message)):
        do_resolve(tmp_path, model(field=field))
    assert do_resolve(tmp_path, model()).values.pins  # a source's server may have one
    destination = tmp_path / "data" / "m"
    with pytest.raises(UserError, match="has no chat template"):
        fetch.run(work(tmp_path, "fetch", subject, uri="hf://org/tiny", destination=str(destination)))


def test_the_chat_template_may_be_in_the_tokenizer_configuration(tmp_path, hub):
    without_template(hub, tokenizer_config_json=b'{"chat_template": "x"}')
    hub.requests.clear()
    assert do_resolve(tmp_path, model(field="target.model")).values.pins
    assert {path.rsplit("/", 1)[-1] for _, path in hub.requests if "/resolve/" in path} == {
        "config.json",
        "tokenizer_config.json",
    }
