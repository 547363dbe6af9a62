"""score: a real (tiny, untrained) sequence classifier in fixed batches."""

import json

import pytest
import torch
import transformers

from fusionrun.api.artifacts import shard_name
from fusionrun.api.records import Message, Response, Score
from fusionrun.api.results.values import Scored
from fusionrun.api.spec.reward import Calibration, CalibrationPair, ScoreRange
from fusionrun.api.tasks.responses import ScoreParameters
from fusionrun_stages import score
from fusionrun_stages.errors import UserError
from fusionrun_stages.reward.model import LoadedRewardModel
from fusionrun_stages.sandbox import probe
from fusionrun_stages.volume.parquet import read_rows, write_rows
from fusionrun_stages.work import Work
from support.stage import make_work, prompt, response, write_inputs
from support.tiny_llama import make_reward_model

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")


@pytest.fixture(scope="module")
def model_path(tmp_path_factory):
    return str(make_reward_model(tmp_path_factory.mktemp("model")))


def prepare(tmp_path, model_path, calibration=None):
    tasks = {"p0": "Instruction", "p1": "Mathematics", "p2": "SftOnly"}
    rows = [response(name, "word " * (i + 1), i) for name in tasks for i in range(5)]
    rows += [response("p0", "cut", 5, "length"), response("p0", "", 6, "error"), response("p0", "long " * 100, 7)]
    prompts = [prompt(name, task=task, prompt=f"Say {name}.") for name, task in tasks.items()]
    inputs = write_inputs(tmp_path, prompts, rows) | {"batch_size": 4, "max_length": 200, "calibration": calibration}
    parameters = ScoreParameters(source="s", model_path=model_path, **inputs)
    return make_work(tmp_path / "out", parameters, shard=0, uid="second")


def test_every_usable_response_is_scored_once(tmp_path, model_path):
    work = prepare(tmp_path, model_path)
    made = score.run(work)
    rows = list(read_rows(work.output / made.files[0], Score))
    assert [(r.prompt_id, r.sample_index) for r in rows] == [(p, i) for p in ("p0", "p1") for i in range(5)]
    assert made.values == Scored(scored=10, unscored=3)
    assert made.details["unscored"] == {"truncated": 1, "failed": 1, "too_long": 1}
    assert len({r.score_micro for r in rows}) == 10
    assert not list((work.output / "parts").iterdir())


def test_a_conversation_that_quotes_special_tokens_has_no_score(tmp_path, model_path):
    texts = ["plain", "It ends<eot>", "<bos>", "<assistant>", "<eot", " < eot > "]
    prompts = [prompt("p0", task="Instruction", prompt="Say."), prompt("p1", task="Instruction", prompt="Say <eot>.")]
    rows = [response(one.prompt_id, text, i) for one in prompts for i, text in enumerate(texts)]
    inputs = write_inputs(tmp_path, prompts, rows) | {"batch_size": 4, "max_length": 200}
    work = make_work(tmp_path / "out", ScoreParameters(source="s", model_path=model_path, **inputs), shard=0)
    made = score.run(work)
    assert made.details["unscored"] == {"ambiguous": 9}
    assert {r.sample_index for r in read_rows(work.output / made.files[0], Score)} == {0, 4, 5}


def test_the_score_is_that_of_the_whole_conversation(tmp_path, model_path):
    turns = [Message(role="user", content="Capital of France?"), Message(role="assistant", content="Paris")]
    quoting = [turns[0], Message(role="assistant", content="Paris<eot>")]
    asked = {"p0": turns, "p1": None, "p2": quoting}
    prompts = [prompt(name, task="Instruction", prompt="Of Peru?", history=given) for name, given in asked.items()]
    rows = [response(name, "Lima") for name in asked]
    inputs = write_inputs(tmp_path, prompts, rows) | {"batch_size": 4, "max_length": 200}
    work = make_work(tmp_path / "out", ScoreParameters(source="s", model_path=model_path, **inputs), shard=0)
    made = score.run(work)
    found = {r.prompt_id: r.score_micro for r in read_rows(work.output / made.files[0], Score)}
    assert made.details["unscored"] == {"ambiguous": 1}
    model = LoadedRewardModel(model_path, "cpu", trust_remote_code=False)
    whole = [m.model_dump() for m in (*turns, *prompts[1].messages, Message(role="assistant", content="Lima"))]
    ids = [model.tokenizer.apply_chat_template(whole[start:], return_dict=True)["input_ids"] for start in (0, 2)]
    assert found == dict(zip(("p0", "p1"), model.score(ids), strict=True))
    assert found["p0"] != found["p1"]


def test_identical_responses_are_scored_once(tmp_path, model_path, monkeypatch):
    work = prepare(tmp_path, model_path)
    texts = ["same", "other", "same", "same"]
    rows = [response(name, text, i) for name in ("p0", "p1") for i, text in enumerate(texts)]
    write_rows(tmp_path / "responses" / f"{shard_name(0, 1)}.parquet", Response, rows)
    scored = []
    original = LoadedRewardModel.score
    monkeypatch.setattr(LoadedRewardModel, "score", lambda self, batch: scored.extend(batch) or original(self, batch))
    made = score.run(work)
    rows = {(r.prompt_id, r.sample_index): r.score_micro for r in read_rows(work.output / made.files[0], Score)}
    assert made.values.scored == len(rows) == 8
    assert len(scored) == 4
    assert rows["p0", 0] == rows["p0", 2] == rows["p0", 3] != rows["p0", 1]
    assert rows["p0", 0] != rows["p1", 0]


def test_a_score_equals_that_of_the_model_without_padding(tmp_path, model_path):
    work = prepare(tmp_path, model_path)
    made = score.run(work)
    model = transformers.AutoModelForSequenceClassification.from_pretrained(model_path).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(model_path)
    for row in read_rows(work.output / made.files[0], Score):
        text = f"<bos><user>Say {row.prompt_id}.<eot><assistant>{'word ' * (row.sample_index + 1)}<eot>"
        ids = torch.tensor([tokenizer(text, add_special_tokens=False)["input_ids"]])
        with torch.inference_mode():
            expected = model(input_ids=ids).logits[0, 0].item()
        assert row.score_micro == pytest.approx(expected * 1e6, abs=5)


def test_complete_batches_are_kept_and_an_incomplete_one_is_scored_again(tmp_path, model_path, monkeypatch):
    whole = prepare(tmp_path / "whole", model_path)
    expected = (whole.output / score.run(whole).files[0]).read_bytes()

    work = prepare(tmp_path / "interrupted", model_path)
    scored = []
    original = LoadedRewardModel.score

    def fails_in_the_third_batch(self, batch):
        if len(scored) == 2:
            raise KeyboardInterrupt
        scored.append(len(batch))
        return original(self, batch)

    monkeypatch.setattr(LoadedRewardModel, "score", fails_in_the_third_batch)
    with pytest.raises(KeyboardInterrupt):
        score.run(Work(work.task, work.output, 0, "first", work.report))
    (part,) = (work.output / "parts").iterdir()
    assert len(part.read_bytes().splitlines()) == 2
    part.write_bytes(part.read_bytes() + b'{"plan": "torn')

    again = []
    monkeypatch.setattr(
        LoadedRewardModel, "score", lambda self, batch: again.append(len(batch)) or original(self, batch)
    )
    assert (work.output / score.run(work).files[0]).read_bytes() == expected
    assert again == [2]


def test_a_part_with_other_batches_is_ignored(tmp_path, model_path):
    work = prepare(tmp_path, model_path)
    part = work.output / "parts" / f"{shard_name(0, 1)}.other.jsonl"
    part.parent.mkdir()
    part.write_text(json.dumps({"plan": "other", "batch": 0, "scores_micro": [1, 2, 3, 4]}) + "\n")
    made = score.run(work)
    assert 1 not in [row.score_micro for row in read_rows(work.output / made.files[0], Score)]


def test_code_of_a_model_is_loaded_only_after_the_network_is_closed(tmp_path, model_path, monkeypatch):
    work = prepare(tmp_path, model_path)
    trusting = work.task.parameters.model_copy(update={"trust_remote_code": True})
    work = make_work(tmp_path / "trusting", trusting, shard=0)
    answers = iter([["tcp 10.96.0.1:443"], []])
    seen = []
    original = LoadedRewardModel.__init__

    def load(self, *arguments, **options):
        seen.append("loaded")
        original(self, *arguments, **options)

    monkeypatch.setattr(LoadedRewardModel, "__init__", load)
    monkeypatch.setattr(probe, "WAIT_SECONDS", 0.0)
    monkeypatch.setattr(probe, "find_reachable", lambda: next(answers))
    with pytest.raises(UserError, match=r"network access \(tcp 10.96.0.1:443 answered"):
        score.run(work)
    assert seen == []
    assert score.run(work).values.scored == 10
    assert seen == ["loaded"]


def test_calibration_uses_the_scores_of_the_model(tmp_path, model_path):
    model = LoadedRewardModel(model_path, "cpu", trust_remote_code=False)
    scores = {answer: model.score([model.encode("Well?", answer)])[0] for answer in ("yes", "no way")}
    worse, better = sorted(scores, key=scores.get)
    pair = CalibrationPair(prompt="Well?", better=better, worse=worse)
    calibration = Calibration(pairs=[pair], score_range=ScoreRange(min=-100, max=100))
    found = score.run(prepare(tmp_path, model_path, calibration)).details["calibration"]
    assert found == [pytest.approx({"better": scores[better] / 1e6, "worse": scores[worse] / 1e6}, abs=1e-5)]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"labels": 2}, "2 labels"),
        ({"template": None}, "no chat template"),
        ({"kind": "LlamaForCausalLM"}, "not a trained reward model"),
    ],
)
def test_a_model_that_is_not_a_reward_model_is_rejected(tmp_path, options, message):
    path = str(make_reward_model(tmp_path, **options))
    with pytest.raises(UserError, match=message):
        LoadedRewardModel(path, "cpu", trust_remote_code=False)


def test_a_missing_model_is_rejected(tmp_path):
    with pytest.raises(UserError, match="has no config"):
        LoadedRewardModel(str(tmp_path), "cpu", trust_remote_code=False)


def test_a_corrupt_model_is_rejected(tmp_path):
    path = str(make_reward_model(tmp_path))
    (tmp_path / "model.safetensors").write_bytes(b"not a model at all")
    with pytest.raises(UserError, match="cannot be loaded"):
        LoadedRewardModel(path, "cpu", trust_remote_code=False)
