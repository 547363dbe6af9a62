"""Control tokens: the tokens that a chat template writes between messages, such as the end of a turn.

A tokenizer also makes them from the text of a message that quotes their names. Then a model reads turns that nobody
wrote, and is trained to end its answer in the middle. So the control tokens of a conversation are compared with those
of a conversation with plain text.
"""

from collections.abc import Iterable, Sequence
from typing import Any


class ControlTokens:
    """The control tokens of a tokenizer whose template renders plain text to ``plain``.

    They are the special tokens, and the other added tokens that the template writes (DeepSeek's mark of a user's
    turn is not special) unless they are words or white space (Gemma adds line breaks). Added tokens that it does not
    write, such as Gemma's HTML tags, are text. So is the token of unknown characters.
    """

    def __init__(self, tokenizer: Any, plain: Iterable[int]) -> None:
        added = tokenizer.added_tokens_decoder
        special = {token for token, text in added.items() if text.special} | set(tokenizer.all_special_ids)
        if tokenizer.unk_token_id not in {tokenizer.eos_token_id, tokenizer.bos_token_id}:
            special.discard(tokenizer.unk_token_id)
        written = {token for token in plain if token in added and _has_mark(added[token].content)}
        self._ids = frozenset(special | written)

    def of(self, ids: Sequence[int]) -> list[int]:
        """Return the control tokens among token ids, in order."""
        return [token for token in ids if token in self._ids]


def _has_mark(text: str) -> bool:
    return any(not (character.isalnum() or character.isspace()) for character in text)
