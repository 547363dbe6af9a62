"""The numbers of FuseChat-3.0, each with its source.

"Paper" is arXiv 2503.04222, "README" the README of its public repository (SLIT-AI/FuseChat-3.0). Where both are
silent the number is ours, and says so.
"""

from dataclasses import dataclass

from fusionrun.api.data import RewardMargin, Task
from fusionrun.api.models import Calibration, CalibrationPair, Sampling, ScoreRange
from fusionrun.api.spec import Family

ARMORM_URI = "hf://RLHFlow/ArmoRM-Llama3-8B-v0.1"
"""Source: README, "Data Construction": the reward model."""

REWARD_MARGIN = RewardMargin(min=0.01, max=0.1)
"""Source: README, "Data Construction": pairs with a reward difference in [0.01, 0.1], on ArmoRM's scale."""

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
"""Ours, so that the self-test runs for the recipe's own reward model, too: pairs that any reward model orders, and a
scale that tells ArmoRM's from those of models that answer in logits of several units. Its scores lie roughly between 0
and 0.2 (the README's margins are of that scale); 0.05 is added below and 0.1 above, since plainly bad and plainly good
answers lie at the edges, and nothing but the order of magnitude is asked."""

SFT_FRACTION = 0.4
"""Source: README, "Data Construction": instruction prompts are split 4:6 into SFT and DPO."""

SAMPLES_PER_PROMPT = {Task.INSTRUCTION: 5, Task.MATHEMATICS: 5, Task.CODING: 8, Task.SFT_ONLY: 1}
"""Source: README, "Data Construction": 5 for instruction, 8 for coding, one Chinese response. Mathematics: ours
(the README keeps the responses of the data set and samples Qwen2.5-Math, without a count)."""

MAX_TOKENS = 2048
"""Ours: the paper is silent on the longest sampled answer; its training rows are at most 2,048 tokens."""

DEFAULT_SAMPLING = Sampling(temperature=0.8, top_p=0.95, top_k=-1, repetition_penalty=1.0, max_tokens=MAX_TOKENS)
"""Source: README, "Source models": Gemma-2, Mistral-Large and Llama-3.1. top_k off: ours, as the README names none."""

QWEN_SAMPLING = Sampling(temperature=0.7, top_p=0.8, top_k=-1, repetition_penalty=1.05, max_tokens=MAX_TOKENS)
"""Source: README, "Source models": Qwen2.5 and Qwen2.5-Math."""

EVALUATION_SAMPLING = Sampling(temperature=0.0, top_p=1.0, top_k=-1, repetition_penalty=1.0, max_tokens=MAX_TOKENS)
"""Source: Paper, evaluation: mathematics greedy with 2,048 tokens (the Qwen2.5-Math harness)."""


@dataclass(frozen=True)
class TrainingNumbers:
    """The recipe's numbers of one target family."""

    sft_learning_rate: float
    dpo_learning_rate: float
    beta: float
    length_normalized: bool


TRAINING = {
    Family.LLAMA_3_1: TrainingNumbers(5e-6, 8e-7, 10.0, length_normalized=True),
    Family.LLAMA_3_2: TrainingNumbers(5e-6, 1e-6, 10.0, length_normalized=True),
    Family.QWEN_2_5: TrainingNumbers(2e-6, 3e-7, 0.01, length_normalized=False),
    Family.GEMMA_2: TrainingNumbers(2e-6, 5e-7, 0.01, length_normalized=False),
}
"""Source: README, "Training": learning rates, beta and length normalisation per target."""

SFT_EPOCHS = 3.0
DPO_EPOCHS = 1.0
GLOBAL_BATCH_SIZE = 128
MAX_LENGTH = 2048
WARMUP_RATIO = 0.1
DPO_SAVE_STEPS = 100
"""Source of the six: README, "Training" (SFT: 3 epochs; DPO: 1 epoch, a checkpoint every 100 steps, the better of
the last two is kept; both: batch 128, 2,048 tokens, cosine, warm-up 0.1)."""


def source_sampling(model_uri: str) -> Sampling:
    """Return the recipe's sampling for a source model, by its name."""
    return QWEN_SAMPLING if "qwen" in model_uri.lower() else DEFAULT_SAMPLING
