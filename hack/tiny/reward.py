"""The tiny reward model: a Llama model with a score head, trained on pairs of right and corrupted answers."""

import random
from collections.abc import Mapping, Sequence

import torch
from inputs import copy_with_score_head
from torch.nn.functional import binary_cross_entropy_with_logits, logsigmoid
from transformers import LlamaForCausalLM, LlamaForSequenceClassification, PreTrainedTokenizerFast

from tiny.blend import SKILLS
from tiny.network import IGNORED, Example, Schedule, encode, optimise
from tiny.skill import Use, draw_for

# Keeps scores near zero, so that their scale is bounded and differences are comparable.
_SPREAD_PENALTY = 0.02
_MORE_LAYERS = 2
_BATCH = 256


def build_reward_model(body: LlamaForCausalLM) -> LlamaForSequenceClassification:
    """Add two layers and a score head with one output to a copy of a language model.

    The score is the output at the last token that is not padding, the end of the answer's turn. The last layer of the
    language model predicts the next token; the new layers can compare the prediction with the token.
    """
    model = copy_with_score_head(body, num_hidden_layers=body.config.num_hidden_layers + _MORE_LAYERS)
    torch.nn.init.zeros_(model.score.weight)
    return model


def train_reward_model(
    model: LlamaForSequenceClassification,
    tokenizer: PreTrainedTokenizerFast,
    weights: Mapping[str, float],
    schedule: Schedule,
    seed: int,
) -> list[float]:
    """Train on pairs of a right and a wrong answer to one prompt.

    The loss is the Bradley-Terry loss of the scores, plus, for faster convergence, a binary loss at each token: whether
    the answer is right up to this token.

    Notes
    -----
    Source: Ouyang et al. 2022, arXiv 2203.02155, section 3.5, equation 1; the loss at each token follows the
    process supervision of Lightman et al. 2023, arXiv 2305.20050.
    """
    rng = random.Random(seed)
    streams = {name: draw_for(SKILLS[name], Use.PRETRAINING, random.Random(f"{seed} {name}")) for name in weights}
    names = list(weights)

    def compute_loss() -> torch.Tensor:
        pairs = []
        for name in rng.choices(names, list(weights.values()), k=schedule.batch):
            item = next(streams[name])
            pairs.append((item.prompt, item.answer, SKILLS[name].corrupt(item, rng)))
        better = [(prompt, right) for prompt, right, _ in pairs]
        worse = [(prompt, wrong) for prompt, _, wrong in pairs]
        ids, labels = encode(tokenizer, better + worse)
        scores = model.score(model.model(input_ids=ids, use_cache=False).last_hidden_state)[..., 0]
        kept = labels != IGNORED
        right, wrong = labels.chunk(2)
        sound = torch.cat([torch.ones_like(right), ((right != wrong).cumsum(1) == 0).long()]).to(scores.dtype)
        at_tokens = binary_cross_entropy_with_logits(scores[kept], sound[kept])
        last = kept.long().cumsum(1).argmax(1, keepdim=True)
        final = scores.gather(1, last)[:, 0]
        gap = final[: len(pairs)] - final[len(pairs) :]
        return at_tokens - logsigmoid(gap).mean() + _SPREAD_PENALTY * final.square().mean()

    return optimise(model, compute_loss, schedule)


@torch.no_grad()
def score(
    model: LlamaForSequenceClassification, tokenizer: PreTrainedTokenizerFast, examples: Sequence[Example]
) -> list[float]:
    """Score each prompt with its answer."""
    scores: list[float] = []
    for start in range(0, len(examples), _BATCH):
        ids, _ = encode(tokenizer, examples[start : start + _BATCH])
        mask = (ids != tokenizer.pad_token_id).long()
        scores += model(input_ids=ids, attention_mask=mask).logits[:, 0].tolist()
    return scores
