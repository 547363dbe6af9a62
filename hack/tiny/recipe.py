"""The training of the tiny models, chosen with seeds 0, 1 and 2.

All models start from one model that is pretrained on right answers. Each is then fine-tuned on a different blend. A
source makes few random mistakes in its speciality and many elsewhere. The target makes systematic mistakes, so most of
its answers are wrong, and it can learn the right ones.
"""

from collections.abc import Mapping

from tiny.blend import Blend, Part
from tiny.network import Schedule

# vLLM's CPU attention supports a head dimension of 32.
SHAPE = {"hidden_size": 96, "num_hidden_layers": 3, "intermediate_size": 256}
SHAPE |= {"num_attention_heads": 3, "num_key_value_heads": 3, "head_dim": 32}

PRETRAINING_BLEND: Blend = {"mathematics": Part(0.15), "coding": Part(0.5), "instruction": Part(0.35)}
PRETRAINING = Schedule(steps=450, batch=64, learning_rate=4e-3)

SPECIALISTS: Mapping[str, Blend] = {
    "arithmetician": {
        "mathematics": Part(0.4, slips=0.15),
        "coding": Part(0.3, slips=0.5),
        "instruction": Part(0.3, slips=0.5),
    },
    "programmer": {
        "mathematics": Part(0.3, slips=0.5),
        "coding": Part(0.5, slips=0.15),
        "instruction": Part(0.3, slips=0.5),
    },
    "scribe": {
        "mathematics": Part(0.3, slips=0.5),
        "coding": Part(0.3, slips=0.5),
        "instruction": Part(0.4, slips=0.2),
    },
    "target": {
        "mathematics": Part(0.3, misread=0.8),
        "coding": Part(0.35, misread=0.8),
        "instruction": Part(0.35, misread=0.8),
    },
}
FINE_TUNING = Schedule(steps=80, batch=64, learning_rate=1.5e-3, warmup=10)

REWARD_WEIGHTS = {"mathematics": 1.0, "coding": 1.0, "instruction": 1.5}
REWARD_PAIRS = Schedule(steps=150, batch=32, learning_rate=1.5e-3, warmup=10)
