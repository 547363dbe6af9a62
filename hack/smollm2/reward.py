"""A reward model on the same network: a score head on frozen weights, trained on good and corrupted answers."""

import random
from collections.abc import Sequence

import torch
from inputs import copy_with_score_head
from torch.nn.functional import logsigmoid
from transformers import LlamaForSequenceClassification, PreTrainedModel, PreTrainedTokenizerBase

from smollm2.prompts import (
    TRAINING,
    list_tasks,
    list_templates,
    make_word_problem,
    read_instructions,
    write_program,
    write_steps,
)

Pair = tuple[str, str, str]
"""A prompt, a good answer and a corrupted one."""

_STEPS = 300
_LEARNING_RATE = 1e-2
_WEIGHT_DECAY = 0.1
_MOST_TOKENS = 320


def build_pairs(per_skill: int, seed: int) -> list[Pair]:
    """Write pairs from the training half: word problems, programming tasks and instructions."""
    rng = random.Random(seed)
    good: list[tuple[str, str]] = []
    for number, template in enumerate(list_templates(TRAINING)[:per_skill]):
        problem = make_word_problem(template, 10_000_000 + seed * 1000 + number)
        good.append((problem["question"], write_steps(problem)))
    good += [(task["prompt"], write_program(task)) for task in list_tasks(TRAINING)[:per_skill]]
    good += [(row["prompt"], row["answer"]) for row in read_instructions("training")[:per_skill]]
    return [(prompt, answer, corrupt(answer, [other for _, other in good], rng)) for prompt, answer in good]


def corrupt(answer: str, others: Sequence[str], rng: random.Random) -> str:
    """Shuffle the words, stop half way, repeat the first half, or answer another prompt."""
    words = answer.split(" ")
    kind = rng.randrange(4)
    if kind == 0 and len(words) > 3:
        shuffled = rng.sample(words, len(words))
        return " ".join(shuffled)
    if kind == 1 and len(words) > 3:
        return " ".join(words[: len(words) // 2])
    if kind == 2:
        half = " ".join(words[: max(1, len(words) // 2)])
        return f"{half} {half} {half}"
    return rng.choice([other for other in others if other != answer])


def train_reward_model(
    body: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, pairs: Sequence[Pair], seed: int
) -> tuple[LlamaForSequenceClassification, dict[str, float]]:
    """Train the head on the pairs with the Bradley-Terry loss; a fifth of the pairs is held out.

    Returns
    -------
    tuple
        The model in bfloat16, and the accuracy on training and held-out pairs.

    Notes
    -----
    Source: Ouyang et al. 2022, arXiv 2203.02155, section 3.5, equation 1.
    """
    torch.manual_seed(seed)
    better = _read_features(body, tokenizer, [(prompt, good) for prompt, good, _ in pairs])
    worse = _read_features(body, tokenizer, [(prompt, bad) for prompt, _, bad in pairs])
    differences = better - worse
    held_out = torch.arange(len(pairs)) % 5 == 0
    scale = differences[~held_out].std()
    head = torch.zeros(differences.shape[1], requires_grad=True)
    optimizer = torch.optim.AdamW([head], lr=_LEARNING_RATE, weight_decay=_WEIGHT_DECAY)
    for _ in range(_STEPS):
        loss = -logsigmoid(differences[~held_out] / scale @ head).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    weights = (head / scale).detach()
    # Padding is not the end-of-turn token, since the score is the output at the last token that is not padding.
    model = copy_with_score_head(body, pad_token_id=tokenizer.pad_token_id).to(torch.bfloat16)
    model.score.weight.data.copy_(weights[None])
    gaps = differences @ weights
    scores = torch.cat([better, worse]) @ weights
    facts = {
        "ranked_fitted": (gaps[~held_out] > 0).float().mean().item(),
        "ranked_held_out": (gaps[held_out] > 0).float().mean().item(),
        "gap_10_percent": gaps[held_out].quantile(0.1).item(),
        "gap_median": gaps[held_out].median().item(),
        "gap_90_percent": gaps[held_out].quantile(0.9).item(),
        "score_least": scores.min().item(),
        "score_most": scores.max().item(),
    }
    return model, {name: round(value, 4) for name, value in facts.items()}


@torch.no_grad()
def _read_features(
    body: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, conversations: Sequence[tuple[str, str]]
) -> torch.Tensor:
    """Return the last hidden state at the last token of each conversation, (B, H) in float32."""
    features = []
    for prompt, answer in conversations:
        messages = [{"role": "user", "content": prompt}, {"role": "assistant", "content": answer}]
        ids = tokenizer.apply_chat_template(messages, return_tensors="pt", return_dict=True)["input_ids"]
        hidden = body.model(input_ids=ids[:, -_MOST_TOKENS:]).last_hidden_state
        features.append(hidden[0, -1].float())
    return torch.stack(features)
