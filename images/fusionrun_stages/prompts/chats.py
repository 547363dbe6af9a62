"""Chats in a column: the prompt is the first user turn, and its response is the answer before the next user turn.

A chat is a list of turns with ``role`` and ``content`` (or ``from`` and ``value``), an object with a list for each of
these fields (the ``Sequence`` of the ``datasets`` library), or the JSON text of either.

Source: the documents of TRL ("conversational"), LLaMA-Factory ("sharegpt", with its tags) and OpenAI's chat API
(content as parts, tool calls).
"""

import json
import re
from collections.abc import Iterator
from enum import Enum
from typing import Any, NamedTuple

from fusionrun_stages.prompts.bad_rows import BadRowError
from fusionrun_stages.prompts.values import get_text


class Role(Enum):
    """Who wrote a turn."""

    USER = "user"
    ASSISTANT = "assistant"
    OTHER = "other"
    """A system prompt, a tool's call or its result: neither prompt nor response."""


ROLES = {
    **dict.fromkeys(("user", "human", "prompter"), Role.USER),
    **dict.fromkeys(("assistant", "gpt", "chatgpt", "model", "bot"), Role.ASSISTANT),
    **dict.fromkeys(
        ("system", "developer", "tool", "function", "function_call", "observation", "ipython", "tool_call"), Role.OTHER
    ),
}
"""Roles by their names in lower case."""
ROLE_FIELDS = ("role", "from")
CONTENT_FIELDS = ("content", "value")

_START = re.compile(r"""\[?\s*\{\s*["'](role|from|content|value)["']\s*:""")
_KEYS = re.compile(r"""["'](role|from)["']\s*:.*["'](content|value)["']\s*:""", re.DOTALL)


class Turn(NamedTuple):
    """A turn of a chat."""

    name: str
    """The name of its role."""
    content: Any
    calls_tools: bool

    @property
    def role(self) -> Role | None:
        """The role; None if its name is unknown."""
        return ROLES.get(self.name.strip().lower())

    def text(self) -> str | None:
        """Return its text; raise BadRowError if a part of it is an image or the like."""
        if not isinstance(self.content, list):
            return get_text(self.content)
        return get_text("\n".join(_part_texts(self.content)))


def _part_texts(parts: list[Any]) -> Iterator[str]:
    for part in parts:
        text = part.get("text") if isinstance(part, dict) and part.get("type") in ("text", None) else part
        if not isinstance(text, str):
            raise BadRowError("a chat with a part that is not a text")
        yield text


def parse_chat(value: Any) -> list[Turn] | None:
    """Return the turns of a chat; None if the value is no chat."""
    if isinstance(value, str):
        value = _from_text(value.strip())
    if isinstance(value, dict):
        value = _from_columns(value)
    if not isinstance(value, list):
        return None
    turns = [turn for item in value if isinstance(item, dict) and (turn := _to_turn(item))]
    return turns or None


def _from_text(text: str) -> Any:
    """Return the value of a JSON text that may be a chat; raise BadRowError for a chat in another notation."""
    if not _START.match(text) or text[-1] not in "]}":
        return None
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        if text.startswith("[") and _KEYS.search(text):  # written by Python's str(), for example
            raise BadRowError("a chat as a text that is not JSON") from error
    return None


def _from_columns(value: dict[str, Any]) -> list[dict[str, Any]] | None:
    """Convert an object of lists to a list of objects; return None if it is none."""
    columns = {name: items for name, items in value.items() if isinstance(items, list)}
    if not any(name in columns for name in ROLE_FIELDS) or len({len(items) for items in columns.values()}) != 1:
        return None
    return [dict(zip(columns, items, strict=True)) for items in zip(*columns.values(), strict=True)]


def _to_turn(item: dict[str, Any]) -> Turn | None:
    name = next((item[field] for field in ROLE_FIELDS if isinstance(item.get(field), str)), None)
    if name is None:
        return None
    content = next((item[field] for field in CONTENT_FIELDS if item.get(field) is not None), None)
    return Turn(name, content, calls_tools=bool(item.get("tool_calls") or item.get("function_call")))


def find_prompt(value: Any) -> str | None:
    """Return the prompt of a column: its text, or the first user turn of its chat; None if it has none."""
    turns = parse_chat(value)
    return get_text(value) if turns is None else first_question(turns)


def first_question(turns: list[Turn]) -> str:
    """Return the text of the first user turn; raise BadRowError if it has none."""
    for turn in turns:
        if turn.role is None:
            raise unknown_role(turn)
        if turn.role is Role.USER and (text := turn.text()):
            return text
        if turn.role is Role.USER:
            break
    raise BadRowError("a chat without a question")


def find_response(value: Any, prompt: str, earlier: int = 0) -> str | None:
    """Return the response of a column to a prompt: its text, or the answer in its chat; None if it has none.

    ``earlier`` is the number of user turns before the prompt: the same question may be asked twice.
    """
    turns = parse_chat(value)
    if turns is None:
        return get_text(value)
    answers = _turns_after(turns, prompt, earlier)
    for turn in answers[::-1]:
        if turn.role is Role.ASSISTANT and not turn.calls_tools and (text := turn.text()):
            return text
    for turn in answers:
        if turn.role is None:
            raise unknown_role(turn)
    raise BadRowError("a chat without an answer to the prompt")


def _turns_after(turns: list[Turn], prompt: str, earlier: int) -> list[Turn]:
    """Return the turns between the user turn that is the prompt and the next one.

    With one user turn, that turn is the prompt; without any, all turns answer it.
    """
    users = [index for index, turn in enumerate(turns) if turn.role is Role.USER]
    if not users:
        return turns
    number = 0
    if len(users) > 1:
        wanted = prompt.split()
        found = [n for n, index in enumerate(users) if (turns[index].text() or "").split() == wanted]
        if not found:
            raise BadRowError("a chat of several turns without the prompt")
        number = earlier if earlier in found else found[0]
    end = users[number + 1] if number + 1 < len(users) else len(turns)
    return turns[users[number] + 1 : end]


def unknown_role(turn: Turn) -> BadRowError:
    """Return the error for a turn of an unknown role."""
    return BadRowError("a turn of an unknown role", repr(turn.name[:40]))
