"""Make the inputs of the SmolLM2 run: `PYTHONPATH=hack python -m smollm2.make --out DIR --seed 0`.

Writes DIR/models/{smollm2,reward}, DIR/prompts, DIR/benchmarks, and DIR/manifest.json last. A directory with a manifest
of the same code and seed is left as it is.
"""

import argparse
import hashlib
import json
import shutil
import time
from pathlib import Path

from transformers import PreTrainedModel, PreTrainedTokenizerBase
from transformers.utils import logging

from smollm2.convert import find_gguf, load_gguf
from smollm2.prompts import iterate_files
from smollm2.reward import build_pairs, train_reward_model

# Per skill: prompts to train on, prompts to evaluate.
COUNTS = {"mathematics": (24, 20), "coding": (16, 20), "instruction": (24, 20)}
PAIRS_PER_SKILL = 30
REWARD_PAD = "<|endoftext|>"


def main() -> None:
    """Make the inputs unless they are there."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    manifest = arguments.out / "manifest.json"
    digest = compute_digest(arguments.seed)
    if manifest.exists() and json.loads(manifest.read_text())["digest"] == digest:
        print(f"{arguments.out} is complete")
        return
    manifest.unlink(missing_ok=True)
    started = time.monotonic()
    logging.disable_progress_bar()
    for path, rows in iterate_files(COUNTS, arguments.seed):
        target = arguments.out / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text("".join(json.dumps(row) + "\n" for row in rows))
    model, tokenizer = load_gguf(find_gguf())
    save(model, tokenizer, arguments.out / "models" / "smollm2")
    print(f"converted, {time.monotonic() - started:.0f} s", flush=True)
    tokenizer.pad_token = REWARD_PAD
    reward, facts = train_reward_model(model, tokenizer, build_pairs(PAIRS_PER_SKILL, arguments.seed), arguments.seed)
    save(reward, tokenizer, arguments.out / "models" / "reward")
    known = {
        "digest": digest,
        "seed": arguments.seed,
        "seconds": round(time.monotonic() - started, 1),
        "parameters": model.num_parameters(),
        "counts": COUNTS,
        "reward": facts,
    }
    partial = manifest.with_suffix(".partial")
    partial.write_text(json.dumps(known, indent=2) + "\n")
    partial.rename(manifest)
    print(json.dumps(known, indent=2))


def compute_digest(seed: int) -> str:
    """Digest the seed and this package's own files: what was made by other code is made again."""
    files = sorted(path for path in Path(__file__).parent.iterdir() if path.suffix in {".py", ".jsonl"})
    return hashlib.sha256(b"\0".join([str(seed).encode(), *(path.read_bytes() for path in files)])).hexdigest()[:16]


def save(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, folder: Path) -> None:
    """Write a Hugging Face folder that any user of the volume can read."""
    partial = folder.with_name(folder.name + ".partial")
    model.save_pretrained(partial)
    tokenizer.save_pretrained(partial)
    for path in partial.iterdir():
        path.chmod(0o644)
    shutil.rmtree(folder, ignore_errors=True)
    partial.rename(folder)


if __name__ == "__main__":
    main()
