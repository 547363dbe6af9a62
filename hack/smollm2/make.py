"""Write the inputs of the SmolLM2 run: models/{smollm2,reward}, prompts and benchmarks."""

from pathlib import Path
from typing import Any

from inputs import save_model, save_rows

from smollm2.benchmarks import iterate_benchmarks
from smollm2.convert import find_gguf, load_gguf
from smollm2.prompts import iterate_files
from smollm2.reward import build_pairs, train_reward_model

# Per skill: prompts for training, prompts for evaluation.
COUNTS = {"mathematics": (24, 20), "coding": (16, 20), "instruction": (24, 20)}
# Questions of each benchmark that is read by a preset.
QUESTIONS = 6
PAIRS_PER_SKILL = 30
REWARD_PAD = "<|endoftext|>"


def write(out: Path, seed: int) -> dict[str, Any]:
    """Write all inputs, and return what the manifest records about them."""
    for path, rows in iterate_files(COUNTS, seed):
        save_rows(out / path, rows)
    for path, rows in iterate_benchmarks(QUESTIONS, seed):
        save_rows(out / "benchmarks" / path, rows)
    model, tokenizer = load_gguf(find_gguf())
    save_model(model, tokenizer, out / "models" / "smollm2")
    tokenizer.pad_token = REWARD_PAD
    reward, facts = train_reward_model(model, tokenizer, build_pairs(PAIRS_PER_SKILL, seed), seed)
    save_model(reward, tokenizer, out / "models" / "reward")
    return {"parameters": model.num_parameters(), "counts": COUNTS, "reward": facts}
