"""preflight: a step of SFT and DPO on one and two processes, and the calibration of a reward model."""

import copy

import pytest

from fusionrun.api.results.result import Outcome
from fusionrun_stages import preflight
from fusionrun_stages.errors import UserError
from support import tiny_llama
from support.stage import make_work
from support.tiny_llama import StagePod, train_parameters
from support.tokenizers import tokenizer_of

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return tiny_llama.make_model(tmp_path_factory.mktemp("target"))


def training(model, **changed):
    kinds = {kind: train_parameters(kind, model, "", **changed) for kind in ("sft", "dpo")}
    return {"kind": "preflight", "subject": "training", **kinds}


@pytest.mark.parametrize(("processes", "stage"), [(0, 0), (2, 3)])
def test_a_step_of_sft_and_of_dpo_is_measured_at_the_greatest_length(tmp_path, model, processes, stage):
    pod = StagePod(tmp_path, training(model, zeroStage=stage, globalBatchSize=32), processes)
    assert pod.wait() == 0, pod.text
    assert pod.result.outcome is Outcome.SUCCEEDED
    values, details = pod.result.values, pod.manifest["details"]
    for kind, sides in (("sft", 1), ("dpo", 2)):
        trial = details[kind]
        assert trial["rows"] == trial["accumulation_steps"] * 4 * max(1, processes) == 32
        assert 64 - 8 < trial["tokens_per_row"] / sides <= 64, "a word has up to 8 bytes"
        seconds = getattr(values, f"{kind}_step_seconds")
        assert seconds == pytest.approx(trial["seconds"])
        assert getattr(values, f"{kind}_tokens_per_second") == pytest.approx(32 * trial["tokens_per_row"] / seconds)
    assert (values.gpu, values.gpu_memory_bytes, values.pairs) == (None, None, None)
    assert (values.bandwidth is None) == (processes == 0)
    assert sorted(path.name for path in pod.output.iterdir()) == ["manifest.json"], "nothing else is kept"
    assert pod.manifest["files"] == {}


def test_of_many_micro_batches_only_some_are_measured(tmp_path, model):
    pod = StagePod(tmp_path, training(model, zeroStage=0, globalBatchSize=32, microBatchSize=1, maxLength=48), 0)
    assert pod.wait() == 0, pod.text
    trial = pod.manifest["details"]["sft"]
    assert (trial["rows"], trial["accumulation_steps"]) == (preflight.MICRO_BATCHES_MAX, 32)
    assert pod.result.values.sft_step_seconds == pytest.approx(trial["seconds"] * 32 / preflight.MICRO_BATCHES_MAX)


def test_a_base_model_without_a_template_is_tried_with_that_of_the_recipe(tmp_path):
    tokenizer = copy.deepcopy(tokenizer_of("llama 3"))
    tokenizer.chat_template = None
    model = tiny_llama.make_model(tmp_path / "base", tokenizer=tokenizer)
    for template, code in ((None, 2), ("llama3", 0)):
        parameters = training(model, zeroStage=0, chatTemplate=template, globalBatchSize=4)
        pod = StagePod(tmp_path / f"template-{template}", parameters, 0)
        assert pod.wait() == code, pod.text
    assert pod.result.values.dpo_step_seconds > 0


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"globalBatchSize": 10}, "training.dpo.globalBatchSize: 10: must be a multiple"),
        ({"maxLength": 8}, "training.dpo.maxLength: 8: all"),
    ],
)
def test_settings_that_cannot_train_are_a_user_error(tmp_path, model, changed, message):
    pod = StagePod(tmp_path, training(model, zeroStage=0, **changed), 0)
    assert pod.wait() == 2, pod.text
    assert pod.result.user_error
    assert message in pod.result.message


def calibrated(tmp_path, better, worse, high):
    pair = {"prompt": "Hi", "better": better, "worse": worse}
    calibration = {"pairs": [pair], "scoreRange": {"min": -high, "max": high}}
    path = str(tiny_llama.make_reward_model(tmp_path / "model"))
    reward = {"modelPath": path, "maxLength": 64, "calibration": calibration}
    return preflight.run(
        make_work(tmp_path / "out", {"kind": "preflight", "subject": "reward", "reward": reward}, "preflight/reward")
    )


def test_the_reward_model_is_calibrated(tmp_path):
    texts = {}
    for order in ("ab", "ba"):
        try:
            texts[order] = calibrated(tmp_path / order, order[0], order[1], 100.0).values.pairs
        except UserError as error:
            texts[order] = str(error)
    assert 1 in texts.values()
    assert any("rewardModel.calibration.pairs[0]: wrong order" in str(text) for text in texts.values())
    with pytest.raises(UserError, match=r"pairs\[0\].better: the score .* is outside \[-1e-09, 1e-09\]"):
        calibrated(tmp_path / "range", "a", "b", 1e-9)
