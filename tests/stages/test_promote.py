"""promote: the selected checkpoint and its numbers."""

import math
from statistics import fmean

import pytest
import torch
from pyarrow import parquet
from transformers import AutoModelForCausalLM, LlamaForCausalLM

from fusionrun.api.artifacts import ArtifactManifest
from fusionrun.api.records import SCHEMA_VERSION
from fusionrun.api.results.values import Trained
from fusionrun.api.stage import StageKind
from fusionrun.api.tasks.training import PromoteParameters
from fusionrun_stages import promote
from fusionrun_stages.promote import HeldOutPair, HeldOutResult, compare, select
from fusionrun_stages.training.checkpoints import mark_complete
from fusionrun_stages.training.tokens import Tokens
from fusionrun_stages.volume.manifest import write_manifest
from support import tiny_llama
from support.stage import make_work


@pytest.mark.parametrize(
    ("earlier", "later", "step"),
    [
        ([0.1, 0.5, 0.9], [0.3, 0.71, 1.08], 400),
        ([0.3, 0.71, 1.08], [0.1, 0.5, 0.9], 500),
        ([0.1, 0.5, 0.9], [0.6, 0.3, 0.8], 500),
        ([0.1, 0.5, 0.9], [0.1, 0.5, 0.9], 500),
        ([0.1], [0.9], 500),
    ],
    ids=["lower for each pair", "higher for each pair", "lower by chance", "equal", "one pair"],
)
def test_the_lower_loss_wins_only_if_the_pairs_agree(earlier, later, step):
    results = {400: HeldOutResult(0.9, fmean(earlier), earlier), 500: HeldOutResult(0.1, fmean(later), later)}
    assert select(results, compare(earlier, later)) == step


def test_the_uncertainty_is_that_of_the_differences_per_pair():
    compared = compare([0.0, 10.0, 20.0, 30.0], [1.0, 9.0, 22.0, 32.0])
    assert compared.difference == 1.0
    assert compared.standard_error == pytest.approx(math.sqrt((0 + 4 + 1 + 1) / 3 / 4))


def test_a_single_candidate_is_selected():
    assert select({9: HeldOutResult(0.5, 0.4, [0.4])}, None) == 9


PAIR = HeldOutPair(Tokens([1], [2, 3]), Tokens([1], [4, 5, 6, 7]))


def test_margins_are_per_token_if_length_normalized():
    margins = {
        normalized: promote.log_ratio_margins([(-1.0, -8.0)], [(-3.0, -4.0)], [PAIR], length_normalized=normalized)
        for normalized in (True, False)
    }
    assert margins == {True: [2 / 2 - -4 / 4], False: [2 - -4]}


def test_margins_give_the_dpo_loss_and_the_accuracy():
    result = promote.evaluate_margins([1.0, -1.0, 0.0, 2.0], beta=0.5)
    losses = [math.log1p(math.exp(-0.5 * margin)) for margin in (1.0, -1.0, 0.0, 2.0)]
    assert result.accuracy == 0.5, "a tie counts as wrong"
    assert result.loss == pytest.approx(sum(losses) / 4)


def test_batches_have_every_side_once_within_their_size(monkeypatch):
    monkeypatch.setattr(promote, "PADDED_TOKENS_AT_ONCE", 12)
    sides = [Tokens([0] * length, []) for length in (3, 20, 4, 4, 1)]
    batches = promote._batches(sides)
    assert sorted(index for batch in batches for index in batch) == [0, 1, 2, 3, 4]
    assert batches[0] == [1], "a side longer than a batch is a batch of one"
    assert all(len(batch) * max(len(sides[i].prompt) for i in batch) <= 12 for batch in batches[1:])


@pytest.fixture
def dpo(tmp_path):
    """A DPO artifact with checkpoints 4 and 8, whose weights differ, and the last step's model, 9."""
    reference = tiny_llama.make_model(tmp_path / "reference")
    for step, place in ((4, "checkpoints/checkpoint-4"), (8, "checkpoints/checkpoint-8"), (9, "model")):
        folder = tmp_path / "dpo" / place
        model = LlamaForCausalLM.from_pretrained(reference)
        torch.manual_seed(step)
        with torch.no_grad():
            for weight in model.parameters():
                weight.add_(0.01 * torch.randn_like(weight))
        model.save_pretrained(folder)
        tiny_llama.make_tokenizer().save_pretrained(folder)
        if place != "model":
            mark_complete(folder, 2)
    manifest = ArtifactManifest(
        schema_version=SCHEMA_VERSION, stage="dpo", digest="d", files={}, values=Trained(kind=StageKind.DPO, steps=9)
    )
    write_manifest(tmp_path / "dpo", manifest, None, None)
    return tmp_path


def run(folder, held_out, **changed):
    fields = {
        "dpo_dir": str(folder / "dpo"), "reference_model_path": str(folder / "reference"), "save_steps": 4,
        "held_out_path": str(held_out), "beta": 10.0, "length_normalized": True, "max_length": 64,
    }  # fmt: skip
    reports = []
    work = make_work(
        folder / "promoted",
        PromoteParameters(**fields | changed),
        report=lambda done, total, *_, **__: reports.append((done, total)),
    )
    return promote.run(work), reports


def test_the_better_candidate_is_linked_and_its_loss_matches_the_formula(dpo):
    held_out = tiny_llama.write_pairs(dpo / "held-out.parquet", 7)
    made, reports = run(dpo, held_out)
    assert set(made.details["candidates"]) == {"4", "8"}
    earlier, later = (made.details["candidates"][step]["loss"] for step in ("4", "8"))
    assert made.values.held_out_loss_difference == pytest.approx(later - earlier)
    assert made.values.held_out_loss_standard_error > 0
    assert reports[-1] == (21, 21)
    step = int(made.values.step)
    chosen = dpo / "dpo" / "checkpoints" / f"checkpoint-{step}"
    assert (dpo / "promoted" / "model" / "model.safetensors").samefile(chosen / "model.safetensors")
    assert "model/tokenizer.json" in made.files
    assert "model/whole.json" not in made.files

    # By hand, one pair at a time and without padding.
    tokenizer = tiny_llama.make_tokenizer()
    policy, reference = (AutoModelForCausalLM.from_pretrained(path) for path in (chosen, dpo / "reference"))
    losses = []
    for a, b in tiny_llama.SUMS[:7]:
        prompt = tiny_llama.message("user", f"{a}+{b}=?")
        margin = 0.0
        for sign, text in ((1, str(a + b)), (-1, "I do not know"[: 4 + (a + b) % 9].strip())):
            ids = tokenizer.apply_chat_template(prompt + tiny_llama.message("assistant", text), return_dict=True)[
                "input_ids"
            ]
            size = len(text) + 1  # bytes and the end-of-turn token
            ratio = 0.0
            for model, weight in ((policy, 1), (reference, -1)):
                with torch.no_grad():
                    logits = model(torch.tensor([ids])).logits[0, :-1].log_softmax(-1)
                ratio += weight * logits.gather(1, torch.tensor(ids[1:])[:, None])[-size:].sum().item()
            margin += sign * ratio / size
        losses.append(math.log1p(math.exp(-10.0 * margin)))
    assert made.values.held_out_loss == pytest.approx(sum(losses) / 7, abs=1e-5)


def test_with_one_candidate_the_last_step_is_used(dpo):
    held_out = tiny_llama.write_pairs(dpo / "held-out.parquet", 3)
    made, _ = run(dpo, held_out, save_steps=8)
    assert made.values.step == 9
    assert "1 checkpoint(s)" in made.details["reason"]
    assert (dpo / "promoted/model/model.safetensors").samefile(dpo / "dpo/model/model.safetensors")
    assert made.values.held_out_loss is not None


def test_without_held_out_pairs_the_last_candidate_is_used(dpo):
    schema = parquet.read_schema(tiny_llama.write_pairs(dpo / "held-out.parquet", 1))
    parquet.write_table(schema.empty_table(), dpo / "held-out.parquet")
    made, _ = run(dpo, dpo / "held-out.parquet")
    assert (made.values.step, made.values.held_out_loss) == (8, None)
    assert "no held-out pairs" in made.details["reason"]


def test_pairs_that_quote_special_tokens_are_left_out(dpo):
    made, _ = run(dpo, tiny_llama.write_pairs(dpo / "held-out.parquet", 3, quoting=True))
    assert made.details["unusable_pairs"] == {"special_tokens": 10}
    assert made.values.held_out_pairs == 3


def test_pairs_longer_than_max_length_are_left_out(dpo):
    made, _ = run(dpo, tiny_llama.write_pairs(dpo / "held-out.parquet", 10), max_length=22)
    assert made.details["dropped_long"] > 0
    assert made.values.held_out_pairs == 10 - made.details["dropped_long"]
