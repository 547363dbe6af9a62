import json
import struct
from types import SimpleNamespace

import pytest

pytest.importorskip("pyarrow")

from fusionrun.api.artifacts import Manifest, artifact_dir, manifest_paths, stage_digest
from fusionrun.api.task import PlannedStage, Reference, StageKind, StageTask
from fusionrun_stages import resolve
from fusionrun_stages.errors import UserError
from fusionrun_stages.work import Work


def make_model(folder, *, data=b"12345678", template=True):
    folder.mkdir(parents=True)
    header = json.dumps({"w": {"dtype": "F32", "shape": [len(data) // 4], "data_offsets": [0, len(data)]}}).encode()
    (folder / "model.safetensors").write_bytes(struct.pack("<Q", len(header)) + header + data)
    (folder / "config.json").write_text('{"model_type": "llama"}')
    (folder / "tokenizer.json").write_text("{}")
    if template:
        (folder / "chat_template.jinja").write_text("x")
    return folder


@pytest.fixture
def volume(tmp_path, monkeypatch):
    monkeypatch.setenv("FUSIONRUN_MOUNT", str(tmp_path))
    make_model(tmp_path / "inputs" / "model")
    (tmp_path / "inputs" / "math.jsonl").write_text('{"prompt": "1 + 1", "answer": "2"}\n')
    return tmp_path


def model(path="inputs/model", field="sources[qwen].served.model"):
    return Reference(field=field, kind="model", uri=f"pvc://claim/{path}")


def data(path="inputs/math.jsonl", columns=("prompt", "answer")):
    return Reference(field="datasets[math]", kind="dataset", uri=f"pvc://claim/{path}", columns=list(columns))


def run(volume, references, stages=()):
    task = StageTask(
        run="r", namespace="n", stage="resolve", digest="d", output_dir=str(volume / "out"),
        parameters={"kind": "resolve", "references": references, "stages": list(stages)},
    )  # fmt: skip
    return resolve.run(Work(task=task, output=volume / "out", shard=None, pod_uid="u", report=lambda *a, **k: None))


def test_pins_are_twelve_digits_and_follow_the_content(volume):
    made = run(volume, [model(), data()])
    assert [len(p) for p in made.pins] == [12, 12]
    assert made.pins == run(volume, [model(), data()]).pins
    (volume / "inputs" / "math.jsonl").write_text('{"prompt": "1 + 2", "answer": "3"}\n')
    weights = volume / "inputs" / "model" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"x")
    assert all(a != b for a, b in zip(made.pins, run(volume, [model(), data()]).pins, strict=True))


def test_a_moved_file_keeps_its_pin(volume):
    before = run(volume, [data()]).pins
    (volume / "inputs" / "math.jsonl").rename(volume / "inputs" / "other.jsonl")
    assert run(volume, [data("inputs/other.jsonl")]).pins == before


def truncate(path):
    path.write_bytes(path.read_bytes()[:-3])


MODEL = "inputs/model"
BROKEN = {
    "no such directory": (lambda v: None, model("inputs/none"), r"sources\[qwen\]\.served\.model: 'pvc://claim/inputs/none': no such directory on the claim"),
    "a file": (lambda v: None, model("inputs/math.jsonl"), "is a file: a model is a directory"),
    "no config": (lambda v: (v / MODEL / "config.json").unlink(), model(), "config.json: missing"),
    "broken config": (lambda v: (v / MODEL / "config.json").write_text("{"), model(), "config.json: corrupt: not JSON"),
    "foreign config": (lambda v: (v / MODEL / "config.json").write_text("{}"), model(), "names neither model_type nor architectures"),
    "no weights": (lambda v: (v / MODEL / "model.safetensors").unlink(), model(), r"no \*\.safetensors file"),
    "truncated weights": (lambda v: truncate(v / MODEL / "model.safetensors"), model(), r"model\.safetensors: truncated: \d+ bytes, its header tells of \d+"),
    "no header": (lambda v: (v / MODEL / "model.safetensors").write_bytes(b"x" * 99), model(), "corrupt: no safetensors header in 99 bytes"),
    "broken header": (lambda v: (v / MODEL / "model.safetensors").write_bytes(struct.pack("<Q", 5) + b"{nope"), model(), "its safetensors header cannot be read"),
    "missing shard": (lambda v: (v / MODEL / "model.safetensors.index.json").write_text('{"weight_map": {"w": "model-2.safetensors"}}'), model(), "model-2.safetensors: missing, though"),
    "no tokenizer": (lambda v: (v / MODEL / "tokenizer.json").unlink(), model(), "no tokenizer"),
    "no chat template": (lambda v: (v / MODEL / "chat_template.jinja").unlink(), model(field="target.model"), "target.model: .*has no chat template"),
    "no data": (lambda v: None, data("inputs/none.jsonl"), r"datasets\[math\]: 'pvc://claim/inputs/none.jsonl': no such file or directory on the claim"),
    "empty data": (lambda v: (v / "inputs" / "math.jsonl").write_text(""), data(), r"datasets\[math\]: 'math.jsonl': the data set is empty"),
    "missing column": (lambda v: None, data(columns=["prompt", "gold"]), r"datasets\[math\]: column 'gold': missing in math.jsonl, which has: prompt, answer"),
    "not JSON": (lambda v: (v / "inputs" / "math.jsonl").write_text("x\n"), data(), r"datasets\[math\]: math.jsonl:1: not JSON"),
}  # fmt: skip


@pytest.mark.parametrize("case", BROKEN)
def test_bad_input_names_field_value_and_rule(volume, case):
    break_it, reference, message = BROKEN[case]
    break_it(volume)
    with pytest.raises(UserError, match=message):
        run(volume, [reference])


def test_a_link_out_of_the_volume_is_refused(volume, tmp_path_factory):
    outside = make_model(tmp_path_factory.mktemp("outside") / "m")
    (volume / "inputs" / "link").symlink_to(outside)
    with pytest.raises(UserError, match="leads out of the volume"):
        run(volume, [model("inputs/link")])


def test_complete_artifacts_are_found_by_the_operators_digests(volume):
    pins = run(volume, [model(), data()]).pins
    stages = [
        PlannedStage(name="construct", kind="construct", parameters_digest="c", inputs=["generate/qwen"]),
        PlannedStage(name="prepare/prompts", kind="prepare", parameters_digest="p", pins=[1]),
        PlannedStage(name="generate/qwen", kind="generate", parameters_digest="g", pins=[0], inputs=["prepare/prompts"], shards=2),
    ]  # fmt: skip
    prepare = stage_digest("p", [pins[1]], [])
    generate = stage_digest("g", [pins[0]], [prepare])
    assert run(volume, [model(), data()], stages).complete == []

    def finish(kind, digest, shards, files):
        for path in manifest_paths(str(volume / artifact_dir(kind, digest).removeprefix("/data/")), shards):
            manifest = Manifest(schema_version=1, stage="s", digest=digest, files=files)
            target = SimpleNamespace(path=volume / path)
            target.path.parent.mkdir(parents=True, exist_ok=True)
            target.path.write_text(manifest.model_dump_json())

    finish(StageKind.PREPARE, prepare, None, {})
    assert run(volume, [model(), data()], stages).complete == [1]
    finish(StageKind.GENERATE, generate, 2, {})
    assert run(volume, [model(), data()], stages).complete == [1, 2]
    finish(StageKind.GENERATE, generate, 2, {"responses/00000-of-00002.parquet": 5})
    assert run(volume, [model(), data()], stages).complete == [1]
