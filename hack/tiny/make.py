"""Write the inputs of the tiny run: models, prompts and benchmarks.

The models are trained in parallel, in one process per CPU core, and then measured.
"""

import hashlib
import os
import random
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import torch
from inputs import generation_config, save_model, save_rows
from transformers import LlamaForCausalLM, PreTrainedTokenizerFast
from transformers.utils import logging

from tiny import recipe
from tiny.blend import SKILLS, draw_from
from tiny.network import CONTEXT, build_config, sample, train
from tiny.reward import build_reward_model, score, train_reward_model
from tiny.skill import Item, Use, draw_distinct
from tiny.vocabulary import build_tokenizer

PROMPT_COUNT = 600
BENCHMARK_COUNT = 300
MEASURED_COUNT = 200
TEMPERATURE, TOP_P, MAX_TOKENS = 0.8, 0.95, 64


def write(out: Path, seed: int) -> dict[str, Any]:
    """Write all inputs, and return what the manifest records about them."""
    for skill in SKILLS:
        for use, folder in ((Use.PROMPTS, "prompts"), (Use.BENCHMARK, "benchmarks")):
            items = enumerate(draw_items(skill, use, seed))
            save_rows(out / folder / f"{skill}.jsonl", (as_row(skill, number, item) for number, item in items))
    pretrain(out / "pretrained", seed)
    names = [*recipe.SPECIALISTS, "reward"]
    with ProcessPoolExecutor(os.cpu_count(), mp_context=get_context("spawn")) as pool:
        futures = {name: pool.submit(make_model, name, out, seed) for name in names[::-1]}
        models = {name: futures[name].result() for name in names}
    return {"counts": {"prompts": PROMPT_COUNT, "benchmark": BENCHMARK_COUNT}, "models": models}


def draw_items(name: str, use: Use, seed: int) -> list[Item]:
    """Draw the prompts or the benchmark of a skill."""
    count = PROMPT_COUNT if use is Use.PROMPTS else BENCHMARK_COUNT
    return draw_distinct(SKILLS[name], use, count, random.Random(f"{seed} {name} {use.value}"))


def as_row(name: str, number: int, item: Item) -> dict[str, object]:
    """Return the JSONL row of an item."""
    row: dict[str, object] = {"id": f"{name}-{number:04d}", "prompt": item.prompt}
    if name == "mathematics":
        return row | {"answer": item.reference}
    if name == "coding":
        return row | {"tests": list(item.tests), "entry_point": "f"}
    return row | {"reference": item.reference}


def pretrain(folder: Path, seed: int) -> None:
    """Train the model from which the training of all other models starts."""
    # Two threads are slower than one on matrices of this size.
    torch.set_num_threads(1)
    tokenizer = build_tokenizer(list(SKILLS.values()), CONTEXT)
    model_seed = derive_seed(seed, "school")
    torch.manual_seed(model_seed)
    model = LlamaForCausalLM(build_config(tokenizer, recipe.SHAPE))
    train(model, tokenizer, draw_from(recipe.PRETRAINING_BLEND, model_seed), recipe.PRETRAINING, model_seed)
    model.generation_config = generation_config(tokenizer)
    print("pretrained", measure_accuracy(model, tokenizer, seed), flush=True)
    save_model(model, tokenizer, folder)


def make_model(name: str, out: Path, seed: int) -> dict[str, object]:
    """Fine-tune the pretrained model, write the result, and measure it."""
    logging.disable_progress_bar()
    torch.set_num_threads(1)
    started = time.monotonic()
    model_seed = derive_seed(seed, name)
    torch.manual_seed(model_seed)  # of the layers that the reward model adds
    tokenizer = PreTrainedTokenizerFast.from_pretrained(out / "pretrained")
    model = LlamaForCausalLM.from_pretrained(out / "pretrained")
    folder = out / "models" / name
    facts: dict[str, object] = {"parameters": model.num_parameters()}
    if name == "reward":
        scorer = build_reward_model(model)
        train_reward_model(scorer, tokenizer, recipe.REWARD_WEIGHTS, recipe.REWARD_PAIRS, model_seed)
        facts |= measure_scores(scorer, tokenizer, seed)
        save_model(scorer, tokenizer, folder)
    else:
        train(model, tokenizer, draw_from(recipe.SPECIALISTS[name], model_seed), recipe.FINE_TUNING, model_seed)
        facts |= measure_accuracy(model, tokenizer, seed)
        save_model(model, tokenizer, folder)
    facts["seconds"] = round(time.monotonic() - started, 1)
    print(name, facts, flush=True)
    return facts


def derive_seed(seed: int, name: str) -> int:
    """Return the seed of a model. A changed name changes the weights of the model."""
    return int.from_bytes(hashlib.sha256(f"{seed} {name}".encode()).digest()[:4], "big")


def measure_accuracy(model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, seed: int) -> dict[str, object]:
    """Measure sampled accuracy on the prompts and greedy accuracy on the benchmark, in percent."""
    sampled, greedy = {}, {}
    for name in SKILLS:
        for use, temperature, results in ((Use.PROMPTS, TEMPERATURE, sampled), (Use.BENCHMARK, 0.0, greedy)):
            items = draw_items(name, use, seed)[:MEASURED_COUNT]
            prompts = [item.prompt for item in items]
            answers = sample(model, tokenizer, prompts, temperature=temperature, top_p=TOP_P, max_tokens=MAX_TOKENS)
            results[name] = 100 * sum(map(SKILLS[name].is_right, items, answers)) / len(items)
    return {"sampled": sampled, "greedy": greedy}


def measure_scores(scorer: torch.nn.Module, tokenizer: PreTrainedTokenizerFast, seed: int) -> dict[str, object]:
    """Measure how often the reward model prefers a right to a corrupted answer, and the deciles of the difference."""
    rng = random.Random(seed)
    facts: dict[str, object] = {}
    for name in SKILLS:
        items = draw_items(name, Use.PROMPTS, seed)
        right = score(scorer, tokenizer, [(item.prompt, item.answer) for item in items])
        wrong = score(scorer, tokenizer, [(item.prompt, SKILLS[name].corrupt(item, rng)) for item in items])
        gaps = sorted(high - low for high, low in zip(right, wrong, strict=True))
        facts[name] = {
            "ranked": 100 * sum(gap > 0 for gap in gaps) / len(gaps),
            "gap_deciles": [round(gaps[len(gaps) * tenth // 10], 3) for tenth in range(1, 10)],
            "mean_right": round(sum(right) / len(right), 3),
            "mean_wrong": round(sum(wrong) / len(wrong), 3),
        }
    return {"scores": facts}
