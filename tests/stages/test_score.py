"""score: a real (tiny, untrained) sequence classifier in fixed batches."""

import json

import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
pytest.importorskip("pyarrow")

from fusionrun.api.artifacts import shard_name
from fusionrun.api.models import Calibration, CalibrationPair, ScoreRange
from fusionrun.api.parameters import ScoreParameters
from fusionrun.api.records import Prompt, Response, Score
from fusionrun.api.task import StageTask
from fusionrun.api.values import Scored
from fusionrun_stages import score
from fusionrun_stages.errors import UserError
from fusionrun_stages.reward.model import LoadedRewardModel
from fusionrun_stages.volume.parquet import read_rows, write_rows
from fusionrun_stages.work import Work

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")

TEMPLATE = (
    "{{ bos_token }}{% for m in messages %}<|{{ m['role'] }}|>{{ m['content'] }}<|end|>{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)


def save(folder, *, labels=1, pad="<|pad|>", template=TEMPLATE, head=True):
    """Save a tiny Llama classifier (without a head: a language model) and its tokenizer."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    special = ["<|begin|>", "<|end|>", "<|pad|>", "<|user|>", "<|assistant|>"]
    backend = Tokenizer(models.BPE({text: i for i, text in enumerate([*special, *alphabet])}, []))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    backend.add_special_tokens(special)
    tokenizer = transformers.PreTrainedTokenizerFast(
        tokenizer_object=backend, bos_token="<|begin|>", eos_token="<|end|>", pad_token=pad, chat_template=template
    )
    torch.manual_seed(0)
    config = transformers.LlamaConfig(
        vocab_size=len(tokenizer), hidden_size=64, intermediate_size=64, num_hidden_layers=2, num_attention_heads=2,
        num_key_value_heads=2, max_position_embeddings=512, num_labels=labels, initializer_range=0.2,
        pad_token_id=tokenizer.pad_token_id, bos_token_id=0, eos_token_id=1,
    )  # fmt: skip
    kind = transformers.LlamaForSequenceClassification if head else transformers.LlamaForCausalLM
    kind(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return str(folder)


@pytest.fixture(scope="module")
def model_path(tmp_path_factory):
    return save(tmp_path_factory.mktemp("model"))


def prepare(tmp_path, model_path, *, batch_size=4, max_length=200, calibration=None):
    file = shard_name(0, 1) + ".parquet"
    tasks = {"p0": "Instruction", "p1": "Mathematics", "p2": "SftOnly"}
    write_rows(
        tmp_path / "prompts" / file,
        Prompt,
        [Prompt(prompt_id=p, dataset="d", task=t, prompt=f"Say {p}.") for p, t in tasks.items()],
    )
    rows = [(p, i, "word " * (i + 1), "stop") for p in tasks for i in range(5)]
    rows += [("p0", 5, "cut", "length"), ("p0", 6, "", "error"), ("p0", 7, "long " * 100, "stop")]
    write_rows(
        tmp_path / "responses" / file,
        Response,
        [
            Response(prompt_id=p, dataset="d", source="s", sample_index=i, text=text, finish_reason=finish)
            for p, i, text, finish in rows
        ],
    )
    parameters = ScoreParameters(
        source="s",
        model_path=model_path,
        prompts_dir=str(tmp_path / "prompts"),
        responses_dir=str(tmp_path / "responses"),
        shards=1,
        batch_size=batch_size,
        max_length=max_length,
        calibration=calibration,
    )
    output = tmp_path / "out"
    output.mkdir(exist_ok=True)
    task = StageTask(
        run="r", namespace="n", stage="score/s", digest="x", output_dir=str(output), shards=1, parameters=parameters
    )
    return Work(task, output, 0, "second", lambda *_, **__: None)


def test_every_usable_response_is_scored_once(tmp_path, model_path):
    work = prepare(tmp_path, model_path)
    made = score.run(work)
    rows = list(read_rows(work.output / made.files[0], Score))
    assert [(r.prompt_id, r.sample_index) for r in rows] == [(p, i) for p in ("p0", "p1") for i in range(5)]
    assert made.values == Scored(scored=10, unscored=3)
    assert made.details["unscored"] == {"truncated": 1, "failed": 1, "too_long": 1}
    assert len({r.score_micro for r in rows}) == 10
    assert not list((work.output / "parts").iterdir())


def test_identical_responses_are_scored_once(tmp_path, model_path, monkeypatch):
    work = prepare(tmp_path, model_path)
    file = tmp_path / "responses" / f"{shard_name(0, 1)}.parquet"
    fields = {"dataset": "d", "source": "s", "finish_reason": "stop"}
    texts = ["same", "other", "same", "same"]
    write_rows(
        file,
        Response,
        [Response(prompt_id=p, sample_index=i, text=t, **fields) for p in ("p0", "p1") for i, t in enumerate(texts)],
    )
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
        text = f"<|begin|><|user|>Say {row.prompt_id}.<|end|><|assistant|>{'word ' * (row.sample_index + 1)}<|end|>"
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


def calibration_of(model_path, low, high, *, swap=False):
    model = LoadedRewardModel(model_path, "cpu", trust_remote_code=False)
    answers = ["yes", "no way"]
    scores = model.score([model.encode("Well?", answer) for answer in answers])
    better, worse = sorted(answers, key=lambda a: -scores[answers.index(a)])
    pair = CalibrationPair(prompt="Well?", better=worse if swap else better, worse=better if swap else worse)
    return Calibration(pairs=[pair], score_range=ScoreRange(min=low, max=high))


def test_calibration_passes_a_model_that_orders_its_pairs(tmp_path, model_path):
    work = prepare(tmp_path, model_path, calibration=calibration_of(model_path, -100, 100))
    (pair,) = score.run(work).details["calibration"]
    assert pair["better"] > pair["worse"]


def test_calibration_rejects_a_wrong_order(tmp_path, model_path):
    work = prepare(tmp_path, model_path, calibration=calibration_of(model_path, -100, 100, swap=True))
    with pytest.raises(UserError, match="wrong order"):
        score.run(work)


def test_calibration_rejects_scores_out_of_range(tmp_path, model_path):
    work = prepare(tmp_path, model_path, calibration=calibration_of(model_path, 50, 100))
    with pytest.raises(UserError, match="outside"):
        score.run(work)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"labels": 2}, "2 labels"),
        ({"template": None}, "no chat template"),
        ({"head": False}, "not a trained reward model"),
    ],
)
def test_a_model_that_is_not_a_reward_model_is_rejected(tmp_path, options, message):
    path = save(tmp_path, **options)
    with pytest.raises(UserError, match=message):
        LoadedRewardModel(path, "cpu", trust_remote_code=False)


def test_a_missing_model_is_rejected(tmp_path):
    with pytest.raises(UserError, match="has no config"):
        LoadedRewardModel(str(tmp_path), "cpu", trust_remote_code=False)


def test_a_corrupt_model_is_rejected(tmp_path):
    path = save(tmp_path)
    (tmp_path / "model.safetensors").write_bytes(b"not a model at all")
    with pytest.raises(UserError, match="cannot be loaded"):
        LoadedRewardModel(path, "cpu", trust_remote_code=False)
