import struct
from pathlib import Path

import pytest

from fusionrun.api.artifacts import ArtifactManifest, artifact_dir, encode_manifest, manifest_paths, stage_digest
from fusionrun.api.stage import PlannedStage, Reference, StageKind
from fusionrun_stages import resolve
from fusionrun_stages.errors import UserError
from support.model_folders import make_model
from support.stage import make_work


@pytest.fixture
def volume(volume):
    make_model(volume / "inputs" / "model")
    (volume / "inputs" / "math.jsonl").write_text('{"prompt": "1 + 1", "answer": "2"}\n')
    return volume


def model(path="inputs/model", field="sources[qwen].served.model"):
    return Reference(field=field, kind="model", uri=f"pvc://claim/{path}")


def data(path="inputs/math.jsonl", columns=("prompt", "answer")):
    return Reference(field="datasets[math]", kind="dataset", uri=f"pvc://claim/{path}", columns=list(columns))


def run(volume, references, stages=()):
    parameters = {"kind": "resolve", "references": references, "stages": list(stages)}
    return resolve.run(make_work(volume / "out", parameters))


def test_pins_have_twelve_digits_and_depend_on_the_content(volume):
    made = run(volume, [model(), data()])
    assert [len(p) for p in made.values.pins] == [12, 12]
    assert made.values.pins == run(volume, [model(), data()]).values.pins
    (volume / "inputs" / "math.jsonl").write_text('{"prompt": "1 + 2", "answer": "3"}\n')
    weights = volume / "inputs" / "model" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"x")
    assert all(a != b for a, b in zip(made.values.pins, run(volume, [model(), data()]).values.pins, strict=True))


def test_a_renamed_file_keeps_its_pin(volume):
    before = run(volume, [data()]).values.pins
    (volume / "inputs" / "math.jsonl").rename(volume / "inputs" / "other.jsonl")
    assert run(volume, [data("inputs/other.jsonl")]).values.pins == before


def test_a_preset_of_benchmarks_is_pinned_with_its_templates(volume):
    """Its format has files that are no data set: the reader of the format finds them by their names."""
    folder = volume / "inputs" / "arena"
    folder.mkdir()
    reference = Reference(field="evaluation.benchmarks[arena]", kind="dataset", uri="pvc://claim/inputs/arena",
                          all_files=True)  # fmt: skip
    with pytest.raises(UserError, match=r"benchmarks\[arena\]: 'pvc://claim/inputs/arena': the folder has no files"):
        run(volume, [reference])
    (folder / "question.jsonl").write_text('{"turns": []}\n')
    (folder / "judge.yaml").write_text("system_prompt: Compare.\n")
    before = run(volume, [reference]).values.pins
    (folder / ".cache").write_text("of another program")
    assert run(volume, [reference]).values.pins == before
    (folder / "judge.yaml").write_text("system_prompt: Compare them.\n")
    assert run(volume, [reference]).values.pins != before


def truncate(path):
    path.write_bytes(path.read_bytes()[:-3])


def fill(content):
    return lambda path: path.write_bytes(content)


NOTHING = None
"""The volume is unchanged: the reference is wrong."""
INDEX = b'{"weight_map": {"w": "model-2.safetensors"}}'
MATH = "inputs/math.jsonl"
BROKEN = {
    "no such directory": (NOTHING, model("inputs/none"),
                          r"sources\[qwen\]\.served\.model: 'pvc://claim/inputs/none': no such directory on the claim"),
    "a file": (NOTHING, model(MATH), "is a file; a model must be a directory"),
    "no config": (("config.json", Path.unlink), model(), "config.json: missing"),
    "broken config": (("config.json", fill(b"{")), model(), "config.json: corrupt: not JSON"),
    "foreign config": (("config.json", fill(b"{}")), model(), "names neither model_type nor architectures"),
    "no weights": (("model.safetensors", Path.unlink), model(), r"no \*\.safetensors file"),
    "truncated weights": (
        ("model.safetensors", truncate),
        model(),
        r"model\.safetensors: truncated: \d+ bytes, expected \d+ from its header",
    ),
    "no header": (("model.safetensors", fill(b"x" * 99)), model(), "corrupt: no safetensors header in 99 bytes"),
    "broken header": (
        ("model.safetensors", fill(struct.pack("<Q", 5) + b"{nope")),
        model(),
        "its safetensors header cannot be read",
    ),
    "deep header": (
        ("model.safetensors", fill(struct.pack("<Q", 10**6) + b"[" * 10**6)),
        model(),
        "its safetensors header cannot be read",
    ),
    "deep config": (("config.json", fill(b"[" * 10**6)), model(), "config.json: corrupt: not JSON"),
    "missing shard": (
        ("model.safetensors.index.json", fill(INDEX)),
        model(),
        "model-2.safetensors: missing, but listed in model.safetensors.index.json",
    ),
    "no tokenizer": (("tokenizer.json", Path.unlink), model(), "no tokenizer"),
    "no chat template": (("chat_template.jinja", Path.unlink), model(field="target.model"),
                         "target.model: .*has no chat template"),
    "evaluated, no chat template": (("chat_template.jinja", Path.unlink), model(field="evaluateOnly.models[a].model"),
                                    r"evaluateOnly\.models\[a\]\.model: .*has no chat template"),
    "no data": (NOTHING, data("inputs/none.jsonl"),
                r"datasets\[math\]: 'pvc://claim/inputs/none.jsonl': no such file or directory on the claim"),
    "empty data": (("../math.jsonl", fill(b"")), data(), r"datasets\[math\]: 'math.jsonl': the data set is empty"),
    "missing column": (NOTHING, data(columns=["prompt", "gold"]),
                       r"datasets\[math\]: column 'gold': missing in math.jsonl, which has: prompt, answer"),
    "not JSON": (("../math.jsonl", fill(b"x\n")), data(), r"datasets\[math\]: math.jsonl:1: not JSON"),
}  # fmt: skip


@pytest.mark.parametrize("case", BROKEN)
def test_invalid_input_is_reported_with_field_value_and_rule(volume, case):
    broken, reference, message = BROKEN[case]
    if broken:
        name, break_it = broken
        break_it(volume / "inputs" / "model" / name)
    with pytest.raises(UserError, match=message):
        run(volume, [reference])


def test_a_symbolic_link_out_of_the_volume_is_refused(volume, tmp_path_factory):
    outside = make_model(tmp_path_factory.mktemp("outside") / "m")
    (volume / "inputs" / "link").symlink_to(outside)
    with pytest.raises(UserError, match="leads out of the volume"):
        run(volume, [model("inputs/link")])


def test_complete_artifacts_are_found_by_the_operators_digests(volume):
    pins = run(volume, [model(), data()]).values.pins
    stages = [
        PlannedStage(name="prepare/prompts", kind="prepare", parameters_digest="p", pins=[1]),
        PlannedStage(
            name="generate/qwen", kind="generate", parameters_digest="g", pins=[0], inputs=["prepare/prompts"], shards=2
        ),
        PlannedStage(name="construct", kind="construct", parameters_digest="c", inputs=["generate/qwen"]),
    ]
    prepare = stage_digest("p", [pins[1]], [])
    generate = stage_digest("g", [pins[0]], [prepare])
    assert run(volume, [model(), data()], stages).values.complete == []

    def finish(kind, digest, shards, files):
        for path in manifest_paths(str(volume / artifact_dir(kind, digest).removeprefix("/data/")), shards):
            manifest = ArtifactManifest(schema_version=1, stage="s", digest=digest, files=files)
            target = volume / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(encode_manifest(manifest))

    finish(StageKind.PREPARE, prepare, None, {})
    assert run(volume, [model(), data()], stages).values.complete == [0]
    finish(StageKind.GENERATE, generate, 2, {})
    assert run(volume, [model(), data()], stages).values.complete == [0, 1]
    finish(StageKind.GENERATE, generate, 2, {"responses/00000-of-00002.parquet": 5})
    assert run(volume, [model(), data()], stages).values.complete == [0]
