"""The conversations of a shard to score: keys and lengths in memory, texts in a temporary file.

A shard of long responses may exceed the pod's memory. Per conversation, memory holds its keys, its length and the
position of its texts (well below 1 KiB), plus the texts of one batch at a time.
"""

import hashlib
import json
import os
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import IO

from fusionrun.api.records import Prompt, Response
from fusionrun.api.spec.data import Task
from fusionrun.api.tasks.responses import ScoreParameters
from fusionrun_stages.reward.messages import PromptTurns
from fusionrun_stages.volume.parquet import read_rows
from fusionrun_stages.volume.paths import shard_path

SampleKey = tuple[str, str, int]
"""Prompt, source and sample index."""
Span = tuple[int, int]
"""Offset and length in bytes."""
Length = Callable[[PromptTurns, str], int | None]
"""Returns the length of prompt and response; None: they cannot be scored."""


class TextFile:
    """Texts in a temporary file."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file

    def add(self, text: str) -> Span:
        """Write a text; return its position."""
        data = text.encode()
        offset = self._file.seek(0, os.SEEK_END)
        self._file.write(data)
        return offset, len(data)

    def add_prompt(self, prompt: Prompt) -> Span:
        """Write all turns of a prompt; return their position."""
        turns = [message.model_dump() for message in prompt.messages] if prompt.history else prompt.prompt
        return self.add(json.dumps(turns, ensure_ascii=False))

    def read_prompt(self, span: Span) -> PromptTurns:
        """Return the prompt at a position."""
        turns: PromptTurns = json.loads(self.read(span))
        return turns

    def read(self, span: Span) -> str:
        """Return the text at a position."""
        offset, length = span
        self._file.seek(offset)
        return self._file.read(length).decode()


@contextmanager
def open_text_file() -> Iterator[TextFile]:
    """Open a file for texts in the pod's temporary folder."""
    with tempfile.TemporaryFile() as file:
        yield TextFile(file)


UNSCORED = {"stop": "blank", "length": "truncated", "error": "failed"}
"""Why a response has no text to score, by its finish reason."""


@dataclass(slots=True)
class Conversation:
    """A prompt and all its responses with the same text: they are scored once, so their scores are equal."""

    prompt: Span
    response: Span
    length: int
    """In the scorer's unit."""
    keys: list[SampleKey] = field(default_factory=list)


def read_conversations(
    texts: TextFile, length: Length, parameters: ScoreParameters, shard: int
) -> tuple[list[Conversation], Counter[str]]:
    """Read the conversations to score, and count the unscored responses by reason.

    Unscored are failed, blank and truncated responses, conversations that are too long or contain the text of one of
    the model's control tokens (``ambiguous``), and responses of SftOnly data sets (these are not counted). An endpoint
    rejects long conversations itself.
    """
    limit = parameters.max_length if parameters.endpoint is None else None
    prompts = {
        prompt.prompt_id: (prompt.prompt_id, texts.add_prompt(prompt))
        for prompt in read_rows(shard_path(parameters.prompts_dir, shard, parameters.shards), Prompt)
        if prompt.task != Task.SFT_ONLY
    }
    conversations: dict[tuple[str, bytes], Conversation | str] = {}
    """By prompt and hash of the response. A string is the reason why the conversation is unscored."""
    unscored = Counter[str]()
    for response in read_rows(shard_path(parameters.responses_dir, shard, parameters.shards), Response):
        if response.prompt_id not in prompts:
            continue
        if response.finish_reason != "stop" or not response.text.strip():
            unscored[UNSCORED.get(response.finish_reason, "failed")] += 1
            continue
        prompt_id, prompt = prompts[response.prompt_id]
        key = prompt_id, hashlib.sha256(response.text.encode()).digest()
        if key not in conversations:
            tokens = length(texts.read_prompt(prompt), response.text)
            if tokens is None:
                conversations[key] = "ambiguous"
            elif limit is not None and tokens > limit:
                conversations[key] = "too_long"
            else:
                conversations[key] = Conversation(prompt, texts.add(response.text), tokens)
        conversation = conversations[key]
        if isinstance(conversation, str):
            unscored[conversation] += 1
        else:
            conversation.keys.append((prompt_id, sys.intern(response.source), response.sample_index))
    return [c for c in conversations.values() if isinstance(c, Conversation)], unscored


def make_batches(
    conversations: list[Conversation], batch_size: int, max_tokens: int | None
) -> list[list[Conversation]]:
    """Split conversations into batches, the longest first: the first batch shows whether the memory suffices.

    A batch has at most ``batch_size`` conversations, and at most ``max_tokens`` tokens with the padding to its longest
    conversation, unless that one alone is longer.
    """
    batches: list[list[Conversation]] = []
    size = 0
    for conversation in sorted(conversations, key=lambda c: (-c.length, c.keys)):
        if not batches or len(batches[-1]) == size:
            fitting = batch_size if max_tokens is None else max_tokens // max(1, conversation.length)
            size = max(1, min(batch_size, fitting))
            batches.append([])
        batches[-1].append(conversation)
    return batches
