"""Checks of the training tokens: one BOS, a loss on the response and its end-of-turn token, no truncated row.

The checks ignore the pad token, which may be the end-of-turn token.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

from fusionrun_stages.errors import UserError
from fusionrun_stages.models.chat_template import TEMPLATE_ARGUMENTS

CHECKED_ROWS = 8


class Tokens(NamedTuple):
    """Token ids of a conversation: T = len(prompt) + len(completion). The loss is on the completion only."""

    prompt: list[int]
    completion: list[int]


def split_conversation(tokenizer: Any, prompt: list[dict[str, str]], completion: list[dict[str, str]]) -> Tokens:
    """Tokenize a conversation as TRL does in training."""
    opening = _ids(tokenizer, prompt, add_generation_prompt=True)
    full = _ids(tokenizer, prompt + completion, add_generation_prompt=False)
    start = 0
    for a, b in zip(opening, full, strict=False):
        if a != b:
            break
        start += 1
    return Tokens(full[:start], full[start:])


def check_tokens(tokenizer: Any, messages: Sequence[dict[str, str]], tokens: Tokens) -> int:
    """Check a row's tokens against its messages, of which the last is the response; return the end-of-turn token.

    Raise UserError unless the sequence has exactly one BOS, and the completion is the response and one end-of-turn
    token.
    """
    ids = tokens.prompt + tokens.completion
    bos = tokenizer.bos_token_id
    if bos is not None:
        opening = _ids(tokenizer, list(messages[:-1]), add_generation_prompt=True)
        bare = _ids(tokenizer, list(messages[:-1]), add_generation_prompt=False)
        opens_turns = bos in opening[len(bare) :]  # ChatML tokenizers name their <|im_start|> BOS
        count = ids.count(bos)
        is_added = bos in tokenizer("a").input_ids
        if ids[:2] == [bos, bos] or (count > 1 and not opens_turns) or (is_added and count == 0):
            raise UserError(
                f"chat template of target.model: a conversation has {count} BOS tokens "
                f"({tokenizer.bos_token!r}), not exactly one"
            )
    answer = str(messages[-1]["content"])
    added = {token for token, text in tokenizer.added_tokens_decoder.items() if text.special}
    special = [
        index for index, token in enumerate(tokens.completion) if token in added or token in tokenizer.all_special_ids
    ]
    end = special[-1] if special else None
    text = _decode(tokenizer, tokens.completion[:end])
    rest = "" if end is None else _decode(tokenizer, tokens.completion[end + 1 :])
    # Templates may trim an answer (Llama, Gemma) and may end a turn with a newline (ChatML).
    if end is None or text.strip() != answer.strip() or rest.strip():
        raise UserError(
            "chat template of target.model: the trained tokens are not the answer and one end-of-turn token: "
            f"the tokens are {_decode(tokenizer, tokens.completion)[:200]!r}, the answer is {answer[:200]!r}"
        )
    return tokens.completion[end]


def drop_long(dataset: Any, lengths: list[int], max_length: int, stage: str) -> tuple[Any, int]:
    """Drop the rows longer than ``max_length`` tokens; return the others and the number of dropped rows."""
    kept = [index for index, length in enumerate(lengths) if length <= max_length]
    dropped = len(lengths) - len(kept)
    if not kept:
        raise UserError(
            f"training.{stage}.maxLength: {max_length}: all {len(lengths)} rows are longer "
            f"(the shortest has {min(lengths, default=0)} tokens)"
        )
    return (dataset.select(kept) if dropped else dataset), dropped


def _ids(tokenizer: Any, messages: list[dict[str, str]], *, add_generation_prompt: bool) -> list[int]:
    encoded = tokenizer.apply_chat_template(
        messages, add_generation_prompt=add_generation_prompt, tokenize=True, return_dict=True, **TEMPLATE_ARGUMENTS
    )
    return list(encoded["input_ids"])


def _decode(tokenizer: Any, ids: list[int]) -> str:
    return str(tokenizer.decode(ids, skip_special_tokens=False, clean_up_tokenization_spaces=False))
