"""One error of ``resolve`` names all faults of a run's references."""

import json

import pytest

from fusionrun.api.stage import Reference
from fusionrun_stages import resolve
from fusionrun_stages.errors import InfrastructureError, UserError
from fusionrun_stages.resolving.faults import message_of
from support.download_hub import DownloadHub
from support.http_server import serving
from support.model_folders import make_model
from support.stage import make_work

GATED = 20


@pytest.fixture
def hub(volume, tmp_path, monkeypatch):
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    monkeypatch.setenv("HF_TOKEN", "reader")
    monkeypatch.setenv("HF_HUB_DISABLE_XET", "1")
    files = {p.name: p.read_bytes() for p in make_model(tmp_path / "upstream").iterdir()}
    server = DownloadHub()
    with serving(server) as server.url:
        for number in range(GATED):
            server.repos["models", f"org/gated-{number}"] = [files]
            server.gated[f"org/gated-{number}"] = set()
        server.repos["models", "org/open"] = [files]
        server.repos["models", "org/pickle"] = [{"config.json": b"{}", "pytorch_model.bin": b"x"}]
        weights = {f"model-{n}.safetensors": b"x" for n in (1, 2, 3)}
        index = json.dumps({"weight_map": dict.fromkeys("ab", "model-1.safetensors") | {"c": "model-4.safetensors"}})
        server.repos["models", "org/shards"] = [{**files, **weights, "model.safetensors.index.json": index.encode()}]
        server.repos["datasets", "org/math"] = [{"data/train.jsonl": b'{"problem": "1 + 1"}\n'}]
        yield server


def model(name, field="sources[a].served.model", revision=None):
    return Reference(field=field, kind="model", uri=f"hf://{name}", revision=revision)


def run(volume, hub, *references):
    parameters = {"kind": "resolve", "references": references, "stages": [], "hub_endpoint": hub.url}
    return resolve.run(make_work(volume / "out", parameters))


def message(volume, hub, *references) -> str:
    with pytest.raises(UserError) as error:
        run(volume, hub, *references)
    return str(error.value)


def test_all_faults_of_all_kinds_are_in_one_message(volume, hub):
    text = message(
        volume,
        hub,
        model("org/gated-0", "target.model"),
        model("org/none", "rewardModel.model"),
        model("org/open", "sources[a].served.model"),
        model("org/open", "sources[b].served.model", revision="nope"),
        model("org/pickle", "sources[c].served.model"),
        model("org/shards", "sources[d].served.model"),
        Reference(field="datasets[m]", kind="dataset", uri="hf://org/math", columns=["problem", "answer"]),
        Reference(field="datasets[n]", kind="dataset", uri="pvc://claim/none.jsonl"),
    )
    assert text.startswith("7 faults: ")
    for part in (
        "target.model: 'hf://org/gated-0@main': gated: accept its licence and set a token (hub.tokenSecretRef)",
        "rewardModel.model: 'hf://org/none@main': not on the hub",
        "sources[b].served.model: 'hf://org/open@nope': no such revision on the hub",
        "sources[c].served.model: 'hf://org/pickle@main': has no *.safetensors",
        "sources[d].served.model: 'hf://org/shards@main': lacks 1 of 2 files of its model.safetensors.index.json: "
        "'model-4.safetensors'",
        "datasets[m]: column 'answer': missing in data/train.jsonl, which has: problem",
        "datasets[n]: 'pvc://claim/none.jsonl': no such file or directory on the claim",
    ):
        assert part in text


def test_twenty_gated_models_need_one_run(volume, hub, caplog):
    references = [model(f"org/gated-{i}", f"sources[{i}].served.model") for i in range(GATED)]
    text = message(volume, hub, *references)
    assert text.startswith("20 faults: sources[0].served.model: 'hf://org/gated-0@main', sources[1]")
    assert text.count("gated: accept its licence") == 1
    assert len(text) <= 1024
    assert all(f"gated-{i}@main': gated" in caplog.text for i in range(GATED))


def test_a_token_with_access_reads_a_gated_model(volume, hub):
    hub.gated["org/gated-3"].add("reader")
    assert run(volume, hub, model("org/gated-3")).values.pins


def test_an_unreachable_hub_is_asked_once_and_other_faults_are_reported(volume, hub):
    hub.url = "http://127.0.0.1:9"
    with pytest.raises(InfrastructureError, match=r"^sources\[a\].served.model: .*cannot reach the hub"):
        run(volume, hub, model("org/open"), model("org/open", "sources[b].served.model"))
    path = Reference(field="datasets[n]", kind="dataset", uri="pvc://claim/none.jsonl")
    text = message(volume, hub, model("org/open"), path)
    assert "no such file or directory on the claim" in text
    assert "cannot reach the hub" in text


@pytest.mark.parametrize(
    ("faults", "limit", "expected"),
    [
        (["a: 'x': gone"], 99, "a: 'x': gone"),
        (["a: 'x': gone", "b: 'y': gone", "c: 'z': gated"], 99, "3 faults: a: 'x', b: 'y': gone; c: 'z': gated"),
        (["no value", "no value", "other"], 99, "2 faults: no value; other"),
        ([f"field-{i}: 'a long value': gone" for i in range(5)], 90,
         "5 faults: field-0: 'a long value': gone; and 4 more, which the log of the stage lists"),
        (["a" * 200], 20, "a" * 19 + "…"),
    ],
)  # fmt: skip
def test_a_message_groups_faults_and_counts_those_it_leaves_out(faults, limit, expected):
    assert message_of(faults, limit) == expected
