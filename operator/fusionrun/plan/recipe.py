"""The numbers of FuseChat-3.0, each with its source.

"Paper" is arXiv 2503.04222, "README" the README of its public repository (SLIT-AI/FuseChat-3.0). "Project" marks a
number that is in neither of them. ``plan.defaults`` turns the numbers into defaults of fields.
"""

from dataclasses import dataclass

from fusionrun.api.spec.data import RewardMargin, Task
from fusionrun.api.spec.models import Sampling
from fusionrun.api.spec.reward import Calibration, CalibrationPair, ScoreRange
from fusionrun.api.spec.target import ChatTemplate, Family, MeasuredModel, Target
from fusionrun.api.spec.training import Dpo, Sft
from fusionrun.api.stage import TemplateName

ARMORM_URI = "hf://RLHFlow/ArmoRM-Llama3-8B-v0.1"
"""Source: README, "Data Construction": the reward model."""

REWARD_MARGIN = RewardMargin(min=0.01, max=0.1)
"""Source: README, "Data Construction": pairs with a reward difference from 0.01 to 0.1, on ArmoRM's scale."""

ARMORM_CALIBRATION = Calibration(
    pairs=[
        CalibrationPair(
            prompt="What is the capital of France?",
            better="The capital of France is Paris.",
            worse="I do not want to answer that. Go away.",
        ),
        CalibrationPair(
            prompt="Explain in two sentences why the sky is blue.",
            better="Sunlight holds all colours, and the molecules of the air scatter the short waves of blue far more "
            "than those of red. That scattered light comes from every direction, so the sky looks blue.",
            worse="I do not know and I do not care. Do not ask me such boring things again.",
        ),
        CalibrationPair(
            prompt="I have 3 apples and buy 4 more. How many apples do I have now?",
            better="You have 3 + 4 = 7 apples now.",
            worse="You have 12 apples, because apples are red.",
        ),
    ],
    score_range=ScoreRange(min=-0.05, max=0.3),
)
"""Project: pairs that any reward model orders correctly, and a range that separates ArmoRM's scores from logits of
several units, which other models return. ArmoRM's scores are roughly between 0 and 0.2, the scale of the README's
margins. The range is 0.05 wider below and 0.1 above for very bad and very good responses: only the order of magnitude
is tested."""

SFT_FRACTION = 0.4
"""Source: README, "Data Construction": instruction prompts are split 4:6 between SFT and DPO."""

SAMPLES_PER_PROMPT = {Task.INSTRUCTION: 5, Task.MATHEMATICS: 5, Task.CODING: 8, Task.SFT_ONLY: 1}
"""Source: README, "Data Construction": 5 for instruction, 8 for coding, 1 for Chinese. Mathematics: project (the README
keeps the responses of the data set and adds samples of Qwen2.5-Math, without a count)."""

MAX_TOKENS = 4096
"""Project: paper and README give no limit on sampled responses. 4,096 is the default of the sampling scripts of the
authors' related work: SLIT-AI/WRPO samples with SimPO's ``on_policy_data_gen/decode.py``. An answer between 2,048 and
4,096 tokens is then complete, judged and compared; only the rows that are too long for training are dropped."""

EVALUATION_MAX_TOKENS = 2048
"""Source: Paper, evaluation: mathematics with the Qwen2.5-Math harness, which has this limit."""

DEFAULT_SAMPLING = Sampling(temperature=0.8, top_p=0.95, top_k=-1, repetition_penalty=1.0, max_tokens=MAX_TOKENS)
"""Source: README, "Source models": Gemma-2, Mistral-Large and Llama-3.1. Top-k off: project."""

QWEN_SAMPLING = Sampling(temperature=0.7, top_p=0.8, top_k=-1, repetition_penalty=1.05, max_tokens=MAX_TOKENS)
"""Source: README, "Source models": Qwen2.5 and Qwen2.5-Math."""

EVALUATION_SAMPLING = Sampling(
    temperature=0.0, top_p=1.0, top_k=-1, repetition_penalty=1.0, max_tokens=EVALUATION_MAX_TOKENS
)
"""Source: Paper, evaluation: mathematics with greedy decoding (the Qwen2.5-Math harness)."""

CONCURRENCY_GROWTH = 4
"""Project: ``generation.maxConcurrency`` as a multiple of ``generation.concurrency``."""


def _sft(learning_rate: float) -> Sft:
    return Sft(epochs=3.0, learning_rate=learning_rate, global_batch_size=128, max_length=2048, warmup_ratio=0.1)


def _dpo(learning_rate: float, beta: float, *, length_normalized: bool) -> Dpo:
    return Dpo(
        epochs=1.0,
        learning_rate=learning_rate,
        global_batch_size=128,
        max_length=2048,
        warmup_ratio=0.1,
        save_steps=100,
        beta=beta,
        length_normalized=length_normalized,
    )


@dataclass(frozen=True)
class TrainingNumbers:
    """The recipe's numbers for one target family."""

    sft: Sft
    dpo: Dpo


TRAINING = {
    Family.LLAMA_3_1: TrainingNumbers(_sft(5e-6), _dpo(8e-7, 10.0, length_normalized=True)),
    Family.LLAMA_3_2: TrainingNumbers(_sft(5e-6), _dpo(1e-6, 10.0, length_normalized=True)),
    Family.QWEN_2_5: TrainingNumbers(_sft(2e-6), _dpo(3e-7, 0.01, length_normalized=False)),
    Family.GEMMA_2: TrainingNumbers(_sft(2e-6), _dpo(5e-7, 0.01, length_normalized=False)),
}
"""Source: README, "Training". By target: learning rates, beta and length normalization. For all targets: SFT has 3
epochs; DPO has 1 epoch and a checkpoint every 100 steps, of which the better of the last two is kept; both have batch
128, 2,048 tokens, a cosine schedule and warm-up 0.1."""


CHAT_TEMPLATES = {Family.LLAMA_3_1: TemplateName.LLAMA_3, Family.LLAMA_3_2: TemplateName.LLAMA_3}
"""The template that replaces a target's own, by family. Source: the published models, inferred from the size of their
``tokenizer_config.json``: that of FuseAI's FuseChat-Llama-3.1-8B-Instruct, FuseChat-Llama-3.2-3B-Instruct and
FuseChat-Llama-3.2-1B-Instruct is as large as Llama 3's, and not as 3.1's. The other published models have their own."""


def chat_template(model: Target | MeasuredModel) -> TemplateName | None:
    """Return the template that replaces the own one of a model; None if its own is used."""
    recipe = model.family if model.chat_template is ChatTemplate.RECIPE else None
    return CHAT_TEMPLATES.get(recipe) if recipe else None


def source_sampling(model: str) -> Sampling:
    """Return the recipe's sampling for a source model, by its name or URI."""
    return QWEN_SAMPLING if "qwen" in model.lower() else DEFAULT_SAMPLING
