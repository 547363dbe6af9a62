"""``resolve`` refuses what cannot fit, together with all other faults, and reports what fits."""

import json

import pytest

from fusionrun.api.stage import Reference
from fusionrun_stages import resolve
from fusionrun_stages.errors import UserError
from fusionrun_stages.resolving import needs
from fusionrun_stages.resolving.references import Pinned
from support.model_folders import make_model
from support.stage import make_work

CONFIG = {"model_type": "llama", "torch_dtype": "bfloat16", "hidden_size": 4096, "num_hidden_layers": 32,
          "intermediate_size": 14336, "num_attention_heads": 32, "num_key_value_heads": 8, "vocab_size": 128256,
          "max_position_embeddings": 8192}  # fmt: skip
TRAINING = {"reference": 0, "processes": 1, "zero_stage": 3, "sft_micro_batch": 1, "sft_max_length": 2048,
            "dpo_micro_batch": 1, "dpo_max_length": 2048, "on_gpus": True}  # fmt: skip
SERVED = {"field": "sources[a].served", "reference": 1}


@pytest.fixture
def volume(volume, monkeypatch):
    for name in ("target", "source"):
        (make_model(volume / name) / "config.json").write_text(json.dumps(CONFIG))
    monkeypatch.setattr(needs, "free_bytes", lambda: 10**12)
    return volume


def run(volume, *more, stages=(), **demand):
    references = [
        Reference(field="target.model", kind="model", uri="pvc://claim/target"),
        Reference(field="sources[a].served.model", kind="model", uri="pvc://claim/source"),
        *more,
    ]
    parameters = {"kind": "resolve", "references": references, "stages": list(stages)}
    parameters["demand"] = {"training": TRAINING, "served": [SERVED]} | demand
    return resolve.run(make_work(volume / "out", parameters))


def test_memory_disk_and_references_are_refused_in_one_message(volume, monkeypatch):
    monkeypatch.setattr(needs, "free_bytes", lambda: 10**11)
    missing = Reference(field="datasets[m]", kind="dataset", uri="pvc://claim/none.jsonl")
    with pytest.raises(UserError) as error:
        run(volume, missing, gpu_memory_bytes=16 * 2**30)
    text = str(error.value)
    assert text.startswith("5 faults: datasets[m]: 'pvc://claim/none.jsonl': no such file")
    for part in (
        "sources[a].served: needs 16.0 GiB per GPU (weights 15.0, KV cache of 8,192 tokens 1.0) of 14.7 that it may",
        "training.sft: needs 134.6 GiB per GPU (weights 15.0, gradients 29.9, optimizer 89.7) of 16.0 that it may use",
        "training.dpo: needs 149.6 GiB per GPU",
        "storage.claimName: the volume is too small: the run needs 497.9 GB more, of 100.0 GB free: 4 checkpoints of",
    ):
        assert part in text


def test_a_run_that_only_evaluates_needs_no_memory_for_training(volume):
    served = SERVED | {"field": "evaluateOnly.models[a].model"}
    made = run(volume, gpu_memory_bytes=80 * 2**30, training=None, served=[served])
    assert made.values.memory_bytes.keys() == {"evaluateOnly.models[a].model"}
    assert made.values.disk_bytes == 0


def test_a_run_that_fits_reports_memory_disk_and_parameters(volume):
    steps = {"processes": 8, "sft_global_batch": 128, "dpo_global_batch": 8}
    made = run(volume, gpu_memory_bytes=80 * 2**30, training=TRAINING | steps)
    assert made.values.parameters == [8_029_995_008] * 2
    assert made.values.memory_bytes.keys() == {"sources[a].served", "training.sft", "training.dpo"}
    assert made.values.disk_bytes == 8_029_995_008 * (4 * 14 + 3 * 2)
    memory = made.details["memory"]
    hints = {field: memory.pop(field) for field in ("training.zeroStage", "training.sft.microBatchSize")}
    assert hints == {
        "training.zeroStage": "3; 2 fits as well and is faster, since it gathers no weights during a step",
        "training.sft.microBatchSize": "1; 16 fits as well and is faster",
    }
    assert all(text.startswith("Fits: ") for text in memory.values())


@pytest.mark.parametrize(
    ("of_run", "own", "verdicts"),
    [
        (16, {}, "served, training"),
        (16, {"served": 80}, "training"),
        (16, {"training": 160}, "served"),
        (160, {"served": 15}, "served"),
        (16, {"served": 0, "training": 0}, ""),
        (None, {"training": 24}, "training"),
    ],
    ids=["of the run", "larger servers", "larger training", "smaller servers", "unknown", "the run's is unknown"],
)
def test_a_part_with_gpus_of_its_own_is_compared_with_these(volume, of_run, own, verdicts):
    sizes = {name: {"gpu_memory_bytes": size * 2**30} for name, size in own.items()}
    demand = {"served": [SERVED | sizes.get("served", {})], "training": TRAINING | sizes.get("training", {})}
    if of_run:
        demand["gpu_memory_bytes"] = of_run * 2**30
    if not verdicts:
        assert all(text.startswith("Unknown: ") for text in run(volume, **demand).details["memory"].values())
        return
    with pytest.raises(UserError) as error:
        run(volume, **demand)
    text = str(error.value)
    refused = {"served": "sources[a].served: needs" in text, "training": "training.sft: needs" in text}
    assert ", ".join(name for name, found in refused.items() if found) == verdicts


def test_a_second_format_of_the_weights_on_the_claim_is_not_counted(volume):
    weights = (volume / "source" / "model.safetensors").read_bytes()
    (volume / "source" / "consolidated.safetensors").write_bytes(weights)
    assert run(volume).values.weights_bytes == [len(weights)] * 2


def test_without_the_memory_of_a_gpu_nothing_is_judged(volume):
    made = run(volume)
    assert all(text.startswith("Unknown: ") for text in made.details["memory"].values())


def test_an_unknown_architecture_is_not_refused(volume):
    for name in ("target", "source"):
        (volume / name / "config.json").write_text('{"model_type": "new"}')
    assert run(volume, gpu_memory_bytes=2**30).values.parameters == [None, None]


@pytest.mark.parametrize("declared", [False, True])
def test_licences_that_restrict_training_on_outputs_are_listed(volume, declared):
    folder = make_model(volume / ("mine" if declared else "gemma-2-27b-it"))
    if declared:
        (folder / "README.md").write_text("---\nlicense: gemma\n---\n")
    model = Reference(field="sources[b].served.model", kind="model", uri=f"pvc://claim/{folder.name}")
    assert run(volume, model).values.licences[2] == "Gemma Terms of Use: allowed under conditions"


FORBIDDEN = "datasets[m]: OpenAI Terms of Use: outputs as training data: forbidden: "
RESEARCH = "datasets[m]: CC BY-NC 4.0: outputs as training data: not for commercial use: "


@pytest.mark.parametrize(
    ("field", "uri", "card", "expected"),
    [
        ("datasets[m]", "pvc://claim/math", "cc-by-nc-4.0", RESEARCH),
        ("datasets[m]", "pvc://claim/math/train.jsonl", "cc-by-nc-4.0", RESEARCH),
        ("datasets[m]", "pvc://claim/math", "mit", None),
        ("datasets[m]", "pvc://claim/math", "unheard-of", None),
        ("datasets[m]", "hf://llamafactory/alpaca_gpt4_zh", None, FORBIDDEN),
        ("datasets[m]", "hf://llamafactory/alpaca_gpt4_zh", "mit", FORBIDDEN),
        ("datasets[m]", "hf://openbmb/UltraFeedback", "cc-by-nc-4.0", RESEARCH),
        ("datasets[m]", "hf://org/math", "cc-by-nc-4.0", RESEARCH),
        ("evaluation.benchmarks[m]", "pvc://claim/math", "cc-by-nc-4.0", None),
    ],
    ids=[
        "folder",
        "file",
        "free",
        "unknown",
        "by name",
        "of the model that generated it",
        "card before name",
        "hub",
        "benchmark",
    ],
)
def test_licences_of_training_data_that_restrict_training_are_logged(
    volume, monkeypatch, caplog, field, uri, card, expected
):
    (volume / "math").mkdir()
    (volume / "math" / "train.jsonl").write_text('{"prompt": "1 + 1"}\n')
    (volume / "math" / "README.md").write_text(f"---\nlicense: {card}\n---\n")
    if uri.startswith("hf://"):
        monkeypatch.setattr(resolve, "pin", lambda reference, endpoint: Pinned("ab" * 20, licence=card))
    reference = Reference(field=field, kind="dataset", uri=uri, columns=["prompt"])
    resolve.run(make_work(volume / "out", {"kind": "resolve", "references": [reference], "stages": []}))
    warnings = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert len(warnings) == bool(expected)
    assert all(text.startswith(expected) for text in warnings)
