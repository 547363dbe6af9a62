"""Models with random weights, and rows for them.

The architectures are those of Qwen2.5-0.5B-Instruct (trained and served) and of Llama-3.2-1B with a score head (the
reward model): the sizes of the recipe's models, scaled down to any GPU. The tokenizer has one token per byte, since a
trained vocabulary would have to be downloaded; the embeddings have the full size, so the loss costs what it costs.
"""

import random
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from support.tiny_llama import CHATML, make_tokenizer, message, write_rows

QWEN_0_5B = {
    "vocab_size": 151_936, "hidden_size": 896, "intermediate_size": 4864, "num_hidden_layers": 24,
    "num_attention_heads": 14, "num_key_value_heads": 2, "max_position_embeddings": 32_768, "rope_theta": 1e6,
    "tie_word_embeddings": True,
}  # fmt: skip
"""Source: config.json of Qwen/Qwen2.5-0.5B-Instruct."""
LLAMA_1B = {
    "vocab_size": 128_256, "hidden_size": 2048, "intermediate_size": 8192, "num_hidden_layers": 16,
    "num_attention_heads": 32, "num_key_value_heads": 8, "head_dim": 64, "max_position_embeddings": 131_072,
    "rope_theta": 5e5, "tie_word_embeddings": True,
}  # fmt: skip
"""Source: config.json of meta-llama/Llama-3.2-1B-Instruct, without ``rope_scaling``: the rows are short."""
TINY = {
    "vocab_size": 320, "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 2,
    "num_key_value_heads": 1, "head_dim": 32, "max_position_embeddings": 4096, "tie_word_embeddings": True,
}  # fmt: skip
WORDS = ["the", "sum", "of", "two", "odd", "numbers", "is", "even", "because", "each", "leaves", "a", "rest", "one"]


@dataclass(frozen=True)
class Sizes:
    """Sizes of a check."""

    language_model: dict[str, Any]
    reward_model: dict[str, Any]
    shortest: int
    """Tokens of the shortest row."""
    longest: int
    """Tokens of the longest row."""
    batch: int
    """Rows or pairs per optimizer step."""
    micro_batch: int
    conversations: int
    """Number of responses to score."""


REAL = Sizes(QWEN_0_5B, LLAMA_1B, 200, 2048, 32, 4, 512)
SMALL = Sizes(TINY, TINY, 40, 120, 8, 2, 24)


def write_language_model(folder: Path, fields: dict[str, Any], *, head: bool = False) -> Path:
    """Save a causal language model, or a reward model with one score, in bfloat16 with its tokenizer."""
    import torch
    import transformers

    tokenizer = make_tokenizer(template=CHATML, bos=None)
    ids = {"bos_token_id": None, "eos_token_id": tokenizer.eos_token_id, "pad_token_id": tokenizer.pad_token_id}
    torch.manual_seed(0)
    if head:
        config = transformers.LlamaConfig(**fields, **ids, num_labels=1)
        model = transformers.LlamaForSequenceClassification(config)
    else:
        model = transformers.Qwen2ForCausalLM(transformers.Qwen2Config(**fields, **ids))
    model.to(torch.bfloat16).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def texts(count: int, sizes: Sizes, seed: int = 0) -> list[tuple[str, str]]:
    """Return prompts and answers whose lengths are spread evenly between the shortest and the longest row."""
    chance = random.Random(seed)
    room = 24  # tokens of the template
    drawn = []
    for number in range(count):
        length = round(sizes.shortest + (sizes.longest - sizes.shortest) * number / max(1, count - 1)) - room
        words = " ".join(chance.choice(WORDS) for _ in range(length))[:length]
        drawn.append((words[: length // 4], words[length // 4 :].strip() or "so"))
    chance.shuffle(drawn)
    return drawn


def write_sft(path: Path, count: int, sizes: Sizes) -> Path:
    """Write rows of SFT."""
    return write_rows(
        path, [{"messages": message("user", p) + message("assistant", a)} for p, a in texts(count, sizes)]
    )


def write_pairs(path: Path, count: int, sizes: Sizes) -> Path:
    """Write pairs of DPO; the rejected response is the first half of the chosen one."""
    rows = [
        {"prompt": message("user", p), "chosen": message("assistant", a),
         "rejected": message("assistant", a[: max(1, len(a) // 2)].strip() or "no")}
        for p, a in texts(count, sizes)
    ]  # fmt: skip
    return write_rows(path, rows)
