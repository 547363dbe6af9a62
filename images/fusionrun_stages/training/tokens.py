"""Checks of the training tokens: one BOS, a loss on the response and its end-of-turn token, no truncated row.

The template is checked with a conversation of plain text: if that fails, every row is wrong. Then each row is checked,
and dropped if its own text changes the turns.

The checks ignore the pad token, which may be the end-of-turn token.
"""

import logging
from collections import Counter
from collections.abc import Sequence
from typing import Any, NamedTuple

from fusionrun_stages.errors import UserError
from fusionrun_stages.models.chat_template import TEMPLATE_ARGUMENTS
from fusionrun_stages.models.control_tokens import ControlTokens

log = logging.getLogger("fusionrun_stages")

PLAIN_PROMPT, PLAIN_ANSWER = "What is the capital of France", "The capital of France is Paris"
"""Texts of words only, for the check of the template."""
SPECIAL_TOKENS, CHANGED_ANSWER = "special_tokens", "changed_answer"
"""Reasons to drop a row: its texts have control tokens; the template changes the answer (some cut off everything before
``</think>``)."""


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


class RowCheck:
    """A check of the rows of one tokenizer, whose template is checked first (``check_tokens``)."""

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        prompt = [{"role": "user", "content": PLAIN_PROMPT}]
        answer = [{"role": "assistant", "content": PLAIN_ANSWER}]
        tokens = split_conversation(tokenizer, prompt, answer)
        self.end_of_turn = check_tokens(tokenizer, prompt + answer, tokens)
        self._control = ControlTokens(tokenizer, tokens.prompt + tokens.completion)
        self._plain: dict[tuple[str, ...], tuple[list[int], list[int]]] = {}
        """Control tokens of prompt and completion with plain text, by the roles of the messages."""

    def problem(self, messages: Sequence[dict[str, str]], tokens: Tokens) -> str | None:
        """Return why a row must be dropped, or None.

        A row is kept if prompt and completion have the control tokens of a conversation with plain text, and the
        completion is the answer.
        """
        roles = tuple(message["role"] for message in messages)
        if roles not in self._plain:
            plain = [{"role": role, "content": PLAIN_ANSWER} for role in roles]
            self._plain[roles] = self._control_tokens(split_conversation(self._tokenizer, plain[:-1], plain[-1:]))
        control = self._control_tokens(tokens)
        if control != self._plain[roles]:
            return SPECIAL_TOKENS
        answer, end = str(messages[-1]["content"]), tokens.completion.index(self.end_of_turn)
        text = _decode(self._tokenizer, tokens.completion[:end])
        return None if _is_answer(self._tokenizer, text, answer) else CHANGED_ANSWER

    def _control_tokens(self, tokens: Tokens) -> tuple[list[int], list[int]]:
        return self._control.of(tokens.prompt), self._control.of(tokens.completion)


def drop_rows(dataset: Any, problems: Sequence[str | None], stage: str) -> tuple[Any, dict[str, int]]:
    """Drop the rows with a problem; return the others and the numbers of dropped rows by problem."""
    counts = Counter(problem for problem in problems if problem)
    if not counts:
        return dataset, {}
    kept = [index for index, problem in enumerate(problems) if problem is None]
    if not kept:
        raise UserError(
            f"{stage}: all {len(problems)} rows are unusable: {dict(counts)}. special_tokens: a prompt or response has "
            "the text of a special token of target.model; changed_answer: its chat template changes the response"
        )
    first = next(index for index, problem in enumerate(problems) if problem)
    log.warning("%s: dropped %s of %d rows; the first is row %d", stage, dict(counts), len(problems), first)
    return dataset.select(kept), dict(counts)


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
    # Templates may end a turn with a newline (ChatML).
    if end is None or not _is_answer(tokenizer, text, answer) or rest.strip():
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


def _is_answer(tokenizer: Any, text: str, answer: str) -> bool:
    """Return whether the text of tokens is the answer: templates may trim it, and a tokenizer may normalize it."""
    if text.strip() == answer.strip():
        return True
    normalized = _decode(tokenizer, tokenizer(answer.strip(), add_special_tokens=False).input_ids)
    return text.strip() == normalized.strip()


def _ids(tokenizer: Any, messages: list[dict[str, str]], *, add_generation_prompt: bool) -> list[int]:
    encoded = tokenizer.apply_chat_template(
        messages, add_generation_prompt=add_generation_prompt, tokenize=True, return_dict=True, **TEMPLATE_ARGUMENTS
    )
    return list(encoded["input_ids"])


def _decode(tokenizer: Any, ids: list[int]) -> str:
    return str(tokenizer.decode(ids, skip_special_tokens=False, clean_up_tokenization_spaces=False))
