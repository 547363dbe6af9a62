"""The turns of a prompt: the first question of a conversation, or all its turns up to the last question.

A conversation is a chat (``prompts.chats``), or a text whose turns begin with a line ``<extra_id_1>Assistant`` or
``<extra_id_1>User``; the first turn, a question, has no such line.

Source: the format of HelpSteer2's column ``prompt`` (card of nvidia/HelpSteer2), which is that of NVIDIA's NeMo.
"""

import re
from typing import Any, NamedTuple

from fusionrun.api.records import Message
from fusionrun.api.spec.data import Turns
from fusionrun_stages.prompts.bad_rows import BadRowError
from fusionrun_stages.prompts.chats import Role, Turn, find_prompt, first_question, parse_chat, unknown_role
from fusionrun_stages.prompts.values import get_text

_MARK = re.compile(r"<extra_id_1>(User|Assistant)[^\S\n]*(?:\n|$)")
"""The line before a turn. T5's token ``<extra_id_1>`` alone, in a prompt about T5, is not one."""
_SYSTEM = ("system", "developer")


class PromptTurns(NamedTuple):
    """A prompt of one or several turns."""

    history: list[Message]
    """The turns before ``prompt``: user and assistant in turn."""
    prompt: str
    """The last turn, a question."""


def find_turns(value: Any, turns: Turns | None) -> PromptTurns | None:
    """Return the prompt of a column; None if it has none.

    Without ``turns``, the prompt is the first question of a chat, and marks in a text are part of the text. Raise
    BadRowError for a conversation that cannot be used.
    """
    if turns is None:
        prompt = find_prompt(value)
        return None if prompt is None else PromptTurns([], prompt)
    conversation = parse_chat(value) or _parse_marks(value)
    if conversation is None:
        text = get_text(value)
        return None if text is None else PromptTurns([], text)
    return PromptTurns([], first_question(conversation)) if turns is Turns.FIRST else _all_turns(conversation)


def _parse_marks(value: Any) -> list[Turn] | None:
    """Return the turns of a text with marks; None if it has none."""
    text = get_text(value)
    if text is None or not _MARK.search(text):
        return None
    first, *rest = (part.rstrip() for part in _MARK.split(text))
    marked = [Turn(name, content, calls_tools=False) for name, content in zip(rest[::2], rest[1::2], strict=True)]
    return [Turn("User", first, calls_tools=False), *marked] if first else marked


def _all_turns(conversation: list[Turn]) -> PromptTurns:
    """Return the turns up to the last question; system prompts are left out.

    Chat templates (Gemma's, Mistral's) refuse turns that do not alternate, and turns of tools need their definitions,
    which the row may not have: such conversations are not used.
    """
    turns = [turn for turn in conversation if turn.name.strip().lower() not in _SYSTEM]
    questions = [index for index, turn in enumerate(turns) if turn.role is Role.USER]
    if not questions:
        raise BadRowError("a chat without a question")
    messages = [_to_message(turn) for turn in turns[: questions[-1] + 1]]
    if any(message.role != ("user", "assistant")[index % 2] for index, message in enumerate(messages)):
        raise BadRowError("a conversation in which user and assistant do not take turns")
    return PromptTurns(messages[:-1], messages[-1].content)


def _to_message(turn: Turn) -> Message:
    if turn.role is None:
        raise unknown_role(turn)
    if turn.role is Role.OTHER or turn.calls_tools:
        raise BadRowError("a conversation with a tool call before the last question")
    text = turn.text()
    if text is None:
        raise BadRowError("a conversation with a turn without a text")
    try:
        return Message(role="user" if turn.role is Role.USER else "assistant", content=text)
    except ValueError as error:
        raise BadRowError("a text that is not Unicode: invalid UTF-8, or a lone surrogate") from error
