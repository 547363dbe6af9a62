"""Make the inputs of a run: models, prompts and benchmarks.

    PYTHONPATH=hack python hack/demo/inputs.py RUN --out DIR [--seed 0]

RUN is a package of hack/, whose module ``make`` has ``write(out, seed)``. DIR/manifest.json is written last. A folder
whose manifest has the same seed and the same source code of the package is complete, and stays unchanged.
"""

import argparse
import hashlib
import json
import shutil
import time
from collections.abc import Iterable
from importlib import import_module
from pathlib import Path
from typing import Any

from transformers import GenerationConfig, LlamaForSequenceClassification, PreTrainedModel, PreTrainedTokenizerBase
from transformers.utils import logging


def main() -> None:
    """Write the inputs, unless they are complete."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    maker = import_module(f"{arguments.run}.make")
    manifest = arguments.out / "manifest.json"
    digest = source_digest(Path(maker.__file__).parent, arguments.seed)
    if manifest.exists() and json.loads(manifest.read_text())["digest"] == digest:
        print(f"{arguments.out} is complete")
        return
    manifest.unlink(missing_ok=True)
    started = time.monotonic()
    logging.disable_progress_bar()
    facts = maker.write(arguments.out, arguments.seed)
    seconds = round(time.monotonic() - started, 1)
    text = json.dumps({"digest": digest, "seed": arguments.seed, "seconds": seconds, **facts}, indent=2)
    partial = manifest.with_suffix(".partial")
    partial.write_text(text + "\n")
    partial.rename(manifest)
    print(text)


def source_digest(package: Path, seed: int) -> str:
    """Return a digest of the seed and of the source code and data of a package."""
    files = sorted(path for path in package.iterdir() if path.suffix in {".py", ".jsonl"})
    return hashlib.sha256(b"\0".join([str(seed).encode(), *(path.read_bytes() for path in files)])).hexdigest()[:16]


def save_rows(path: Path, rows: Iterable[dict[str, Any]]) -> None:
    """Write rows as JSON Lines."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def save_model(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, folder: Path) -> None:
    """Write a Hugging Face folder that all users of the volume can read."""
    partial = folder.with_name(folder.name + ".partial")
    model.save_pretrained(partial)
    tokenizer.save_pretrained(partial)
    for path in partial.iterdir():
        path.chmod(0o644)
    shutil.rmtree(folder, ignore_errors=True)
    partial.rename(folder)


def copy_with_score_head(body: PreTrainedModel, **changes: int) -> LlamaForSequenceClassification:
    """Return a copy of a language model with a new score head with one output; ``changes`` are fields of its config."""
    config = type(body.config)(**(body.config.to_dict() | changes))
    config.num_labels = 1
    model = LlamaForSequenceClassification(config)
    model.model.load_state_dict(body.model.state_dict(), strict="num_hidden_layers" not in changes)
    return model


def generation_config(tokenizer: PreTrainedTokenizerBase) -> GenerationConfig:
    """Return a generation config with the special tokens of a tokenizer."""
    return GenerationConfig(
        **{f"{name}_token_id": getattr(tokenizer, f"{name}_token_id") for name in ("bos", "eos", "pad")}
    )


if __name__ == "__main__":
    main()
