"""The tiny Llama model: its configuration, training and sampling."""

import math
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch.nn.functional import cross_entropy
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

CONTEXT = 256
IGNORED = -100
"""The label that `cross_entropy` ignores."""
Example = tuple[str, str]
"""A prompt and its answer."""


@dataclass(frozen=True)
class Schedule:
    """The length and the learning rate of a training."""

    steps: int
    batch: int = 64
    learning_rate: float = 3e-3
    warmup: int = 30


def build_config(tokenizer: PreTrainedTokenizerFast, shape: Mapping[str, int]) -> LlamaConfig:
    """Return the Hugging Face configuration of a shape."""
    return LlamaConfig(
        **shape,
        vocab_size=len(tokenizer),
        max_position_embeddings=CONTEXT,
        tie_word_embeddings=True,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        dtype="float32",
        initializer_range=0.05,
    )


def encode(tokenizer: PreTrainedTokenizerFast, examples: Sequence[Example]) -> tuple[torch.Tensor, torch.Tensor]:
    """Encode conversations, padded on the right.

    Returns
    -------
    tuple
        Token ids (B, T) and labels (B, T); a label is -100 outside the answer and its end-of-turn token.
    """
    rows = [encode_pair(tokenizer, example) for example in examples]
    width = max(len(prompt) + len(answer) for prompt, answer in rows)
    ids = torch.full((len(rows), width), tokenizer.pad_token_id)
    labels = torch.full((len(rows), width), IGNORED)
    for row, (prompt, answer) in enumerate(rows):
        end = len(prompt) + len(answer)
        ids[row, :end] = torch.tensor(prompt + answer)
        labels[row, len(prompt) : end] = torch.tensor(answer)
    return ids, labels


def encode_pair(tokenizer: PreTrainedTokenizerFast, example: Example) -> tuple[list[int], list[int]]:
    """Encode a prompt up to the assistant's turn, and the answer with its end of turn, as the chat template does."""
    backend = tokenizer.backend_tokenizer
    prompt, answer = example
    head = backend.encode(f"{tokenizer.bos_token}<|user|>{prompt}<|end|><|assistant|>", add_special_tokens=False).ids
    return head, backend.encode(f"{answer}<|end|>", add_special_tokens=False).ids


def train(
    model: LlamaForCausalLM,
    tokenizer: PreTrainedTokenizerFast,
    draw: Callable[[random.Random], Example],
    schedule: Schedule,
    seed: int,
) -> list[float]:
    """Train on a stream of examples, and return the loss of each step."""
    rng = random.Random(seed)

    def compute_loss() -> torch.Tensor:
        losses = []
        for part in split_by_length([draw(rng) for _ in range(schedule.batch)]):
            ids, labels = encode(tokenizer, part)
            logits = model(input_ids=ids, use_cache=False).logits
            losses.append(_sum_by_answer(logits[:, :-1], labels[:, 1:]))
        return torch.stack(losses).sum() / schedule.batch

    return list(optimise(model, compute_loss, schedule))


def optimise(model: torch.nn.Module, compute_loss: Callable[[], torch.Tensor], schedule: Schedule) -> list[float]:
    """Train with AdamW, warm-up and cosine decay to a tenth of the learning rate."""
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=schedule.learning_rate, betas=(0.9, 0.98), weight_decay=0.01, fused=True
    )
    rate = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: _scale(step, schedule))
    model.train()
    losses = []
    for _ in range(schedule.steps):
        loss = compute_loss()
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        rate.step()
        losses.append(loss.item())
    model.eval()
    return losses


@torch.no_grad()
def sample(
    model: LlamaForCausalLM,
    tokenizer: PreTrainedTokenizerFast,
    prompts: Sequence[str],
    *,
    temperature: float,
    top_p: float = 0.95,
    max_tokens: int = 64,
    batch: int = 300,
    seed: int = 0,
) -> list[str]:
    """Sample one answer per prompt. Temperature 0 is greedy.

    Returns
    -------
    list of str
        The answers in the order of the prompts, truncated after `max_tokens`.
    """
    torch.manual_seed(seed)
    choice = {"do_sample": True, "temperature": temperature, "top_p": top_p, "top_k": 0} if temperature else {}
    answers: list[str] = []
    for start in range(0, len(prompts), batch):
        heads = [encode_pair(tokenizer, (prompt, ""))[0] for prompt in prompts[start : start + batch]]
        width = max(map(len, heads))
        ids = torch.tensor([[tokenizer.pad_token_id] * (width - len(head)) + head for head in heads])
        mask = (ids != tokenizer.pad_token_id).long()
        out = model.generate(
            input_ids=ids, attention_mask=mask, max_new_tokens=max_tokens, **({"do_sample": False} | choice)
        )
        answers += tokenizer.batch_decode(out[:, width:], skip_special_tokens=True)
    return answers


def split_by_length(examples: Sequence[Example], parts: int = 3) -> list[list[Example]]:
    """Sort examples by length and split them into equal parts, which reduces padding."""
    ordered = sorted(examples, key=lambda example: sum(map(len, example)))
    size = math.ceil(len(ordered) / parts)
    return [ordered[start : start + size] for start in range(0, len(ordered), size)]


def _sum_by_answer(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Sum the mean loss of each answer, so that short and long answers have the same weight."""
    kept = labels != IGNORED
    losses = cross_entropy(logits[kept], labels[kept], reduction="none")
    weights = (1 / kept.sum(1, keepdim=True)).expand_as(labels)[kept]
    return (losses * weights).sum()


def _scale(step: int, schedule: Schedule) -> float:
    if step < schedule.warmup:
        return (step + 1) / schedule.warmup
    done = (step - schedule.warmup) / max(1, schedule.steps - schedule.warmup)
    return 0.1 + 0.45 * (1 + math.cos(math.pi * done))
