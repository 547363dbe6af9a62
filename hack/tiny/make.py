"""Make the small world: `PYTHONPATH=hack python -m tiny.make --out DIR --seed 0`.

Trains the models side by side in one process per core, writes prompts and benchmarks, measures every model, and writes
DIR/manifest.json last. A directory with a manifest of the same recipe and seed is left as it is.
"""

import argparse
import hashlib
import json
import os
import random
import shutil
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import torch
from transformers import GenerationConfig, LlamaForCausalLM, PreTrainedModel, PreTrainedTokenizerFast
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


def main() -> None:
    """Make the world unless it is there."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--processes", type=int, default=os.cpu_count())
    arguments = parser.parse_args()
    manifest = arguments.out / "manifest.json"
    digest = compute_digest(arguments.seed)
    if manifest.exists() and json.loads(manifest.read_text())["digest"] == digest:
        print(f"{arguments.out} is complete")
        return
    manifest.unlink(missing_ok=True)
    started = time.monotonic()
    logging.disable_progress_bar()
    write_prompts(arguments.out, arguments.seed)
    make_school(arguments.out, arguments.seed)
    names = [*recipe.SPECIALISTS, "reward"]
    with ProcessPoolExecutor(arguments.processes, mp_context=get_context("spawn")) as pool:
        futures = {name: pool.submit(make_model, name, arguments.out, arguments.seed) for name in names[::-1]}
        models = {name: futures[name].result() for name in names}
    facts = {
        "digest": digest,
        "seed": arguments.seed,
        "seconds": round(time.monotonic() - started, 1),
        "counts": {"prompts": PROMPT_COUNT, "benchmark": BENCHMARK_COUNT},
        "models": models,
    }
    partial = manifest.with_suffix(".partial")
    partial.write_text(json.dumps(facts, indent=2) + "\n")
    partial.rename(manifest)
    print(json.dumps(facts, indent=2))


def compute_digest(seed: int) -> str:
    """Digest the seed and this package's own source: what was made by other code is made again."""
    parts = [path.read_bytes() for path in sorted(Path(__file__).parent.glob("*.py"))]
    return hashlib.sha256(b"\0".join([str(seed).encode(), *parts])).hexdigest()[:16]


def draw_items(name: str, use: Use, seed: int) -> list[Item]:
    """Draw the prompts or the benchmark of a skill, with a seed of its own."""
    count = PROMPT_COUNT if use is Use.PROMPTS else BENCHMARK_COUNT
    return draw_distinct(SKILLS[name], use, count, random.Random(f"{seed} {name} {use.value}"))


def write_prompts(out: Path, seed: int) -> None:
    """Write the prompts and the benchmark of every skill as JSONL."""
    for name in SKILLS:
        for use, folder in ((Use.PROMPTS, "prompts"), (Use.BENCHMARK, "benchmarks")):
            path = out / folder / f"{name}.jsonl"
            path.parent.mkdir(parents=True, exist_ok=True)
            rows = (as_row(name, number, item) for number, item in enumerate(draw_items(name, use, seed)))
            path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def as_row(name: str, number: int, item: Item) -> dict[str, object]:
    """Give the JSONL row of an item."""
    row: dict[str, object] = {"id": f"{name}-{number:04d}", "prompt": item.prompt}
    if name == "mathematics":
        return row | {"answer": item.reference}
    if name == "coding":
        return row | {"tests": list(item.tests), "entry_point": "f"}
    return row | {"reference": item.reference}


def make_school(out: Path, seed: int) -> None:
    """Train the model that all others start from, unless it is there."""
    folder = out / "school" / compute_digest(seed)
    if folder.exists():
        return
    # Two threads on matrices as small as these are slower than one.
    torch.set_num_threads(1)
    tokenizer = build_tokenizer(list(SKILLS.values()), CONTEXT)
    own_seed = derive_seed(seed, "school")
    torch.manual_seed(own_seed)
    model = LlamaForCausalLM(build_config(tokenizer, recipe.SHAPE))
    train(model, tokenizer, draw_from(recipe.SCHOOL, own_seed), recipe.SCHOOLING, own_seed)
    model.generation_config = GenerationConfig(
        bos_token_id=tokenizer.bos_token_id, eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id
    )
    print("school", measure_accuracy(model, tokenizer, seed), flush=True)
    save(model, tokenizer, folder)


def make_model(name: str, out: Path, seed: int) -> dict[str, object]:
    """Train one model from the school on, write its folder, and measure it."""
    logging.disable_progress_bar()
    torch.set_num_threads(1)
    started = time.monotonic()
    own_seed = derive_seed(seed, name)
    school = out / "school" / compute_digest(seed)
    tokenizer = PreTrainedTokenizerFast.from_pretrained(school)
    model = LlamaForCausalLM.from_pretrained(school)
    folder = out / "models" / name
    facts: dict[str, object] = {"parameters": model.num_parameters()}
    if name == "reward":
        scorer = build_reward_model(model)
        train_reward_model(scorer, tokenizer, recipe.REWARD_WEIGHTS, recipe.REWARD_PAIRS, own_seed)
        facts |= measure_scores(scorer, tokenizer, seed)
        save(scorer, tokenizer, folder)
    else:
        train(model, tokenizer, draw_from(recipe.SPECIALISTS[name], own_seed), recipe.SPECIALISING, own_seed)
        facts |= measure_accuracy(model, tokenizer, seed)
        save(model, tokenizer, folder)
    facts["seconds"] = round(time.monotonic() - started, 1)
    print(name, facts, flush=True)
    return facts


def save(model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, folder: Path) -> None:
    """Write a Hugging Face folder that any user of the volume can read."""
    partial = folder.with_name(folder.name + ".partial")
    model.save_pretrained(partial)
    tokenizer.save_pretrained(partial)
    for path in partial.iterdir():
        path.chmod(0o644)
    shutil.rmtree(folder, ignore_errors=True)
    partial.rename(folder)


def derive_seed(seed: int, name: str) -> int:
    """Give each model a seed of its own."""
    return int.from_bytes(hashlib.sha256(f"{seed} {name}".encode()).digest()[:4], "big")


def measure_accuracy(model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, seed: int) -> dict[str, object]:
    """Measure sampled accuracy on the prompts and greedy accuracy on the benchmark, in percent."""
    sampled, greedy = {}, {}
    for name in SKILLS:
        for use, temperature, results in ((Use.PROMPTS, TEMPERATURE, sampled), (Use.BENCHMARK, 0.0, greedy)):
            items = draw_items(name, use, seed)[:MEASURED_COUNT]
            prompts = [item.prompt for item in items]
            answers = sample(model, tokenizer, prompts, temperature=temperature, top_p=TOP_P, max_tokens=MAX_TOKENS)
            results[name] = count_right(name, items, answers)
    return {"sampled": sampled, "greedy": greedy}


def count_right(name: str, items: Sequence[Item], answers: Sequence[str]) -> float:
    """Give the percentage of right answers."""
    return 100 * sum(map(SKILLS[name].is_right, items, answers)) / len(items)


def measure_scores(scorer: torch.nn.Module, tokenizer: PreTrainedTokenizerFast, seed: int) -> dict[str, object]:
    """Measure how often the reward model ranks a right answer over a corrupted one, and its gaps' deciles."""
    rng = random.Random(seed)
    facts: dict[str, object] = {}
    for name in SKILLS:
        items = draw_items(name, Use.PROMPTS, seed)
        right = score(scorer, tokenizer, [(item.prompt, item.answer) for item in items])
        wrong = score(scorer, tokenizer, [(item.prompt, SKILLS[name].corrupt(item, rng)) for item in items])
        gaps = sorted(one - other for one, other in zip(right, wrong, strict=True))
        facts[name] = {
            "ranked": 100 * sum(gap > 0 for gap in gaps) / len(gaps),
            "gap_deciles": [round(gaps[len(gaps) * tenth // 10], 3) for tenth in range(1, 10)],
            "mean_right": round(sum(right) / len(right), 3),
            "mean_wrong": round(sum(wrong) / len(wrong), 3),
        }
    return {"scores": facts}


if __name__ == "__main__":
    main()
