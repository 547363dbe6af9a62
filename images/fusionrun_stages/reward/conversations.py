"""The conversations of a shard to score: keys and lengths in memory, texts in a temporary file.

A shard of long responses may exceed the pod's memory. Per conversation, memory holds its keys, its length and the
position of its texts (well below 1 KiB), plus the texts of one batch at a time.
"""

import hashlib
import os
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from fusionrun.api.data import Task
from fusionrun.api.parameters import ScoreParameters
from fusionrun.api.records import Prompt, Response
from fusionrun_stages.volume.parquet import read_rows
from fusionrun_stages.volume.paths import shard_path

SampleKey = tuple[str, str, int]
"""Prompt, source and sample index."""
Span = tuple[int, int]
"""Offset and length in bytes."""
Length = Callable[[str, str], int | None]
"""Returns the length of prompt and response; None: they cannot be scored."""


class TextFile:
    """Texts in an unlinked temporary file."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._end = 0

    def add(self, text: str) -> Span:
        """Write a text; return its position."""
        data = memoryview(text.encode())
        span = self._end, len(data)
        while data:
            written = os.pwrite(self._descriptor, data, self._end)
            self._end, data = self._end + written, data[written:]
        return span

    def read(self, span: Span) -> str:
        """Return the text at a position."""
        offset, length = span
        parts = []
        while length:
            parts.append(os.pread(self._descriptor, length, offset))
            offset, length = offset + len(parts[-1]), length - len(parts[-1])
        return b"".join(parts).decode()


@contextmanager
def open_text_file() -> Iterator[TextFile]:
    """Open a file for texts in the pod's temporary folder."""
    with tempfile.TemporaryFile() as file:
        yield TextFile(file.fileno())


@dataclass(slots=True)
class Conversation:
    """A prompt and all its responses with one text: they are scored once, so their scores are identical."""

    prompt: Span
    response: Span
    length: int
    """In the scorer's unit."""
    keys: list[SampleKey] = field(default_factory=list)


def read_conversations(
    texts: TextFile, length: Length, parameters: ScoreParameters, shard: int
) -> tuple[list[Conversation], Counter[str]]:
    """Read the conversations to score, and count the responses left out by reason.

    Left out are failed, blank and truncated responses, conversations that are too long or contain the model's pad
    token, and responses of SftOnly data sets (these are not counted). An endpoint rejects conversations that are too
    long itself.
    """
    limit = parameters.max_length if parameters.endpoint is None else None
    prompts = {
        prompt.prompt_id: (prompt.prompt_id, texts.add(prompt.prompt))
        for prompt in read_rows(shard_path(parameters.prompts_dir, shard, parameters.shards), Prompt)
        if prompt.task != Task.SFT_ONLY
    }
    conversations: dict[tuple[str, bytes], Conversation | str] = {}
    unscored = Counter[str]()
    for response in read_rows(shard_path(parameters.responses_dir, shard, parameters.shards), Response):
        if response.prompt_id not in prompts:
            continue
        if response.finish_reason != "stop" or not response.text.strip():
            unscored["truncated" if response.finish_reason == "length" else "failed"] += 1
            continue
        prompt_id, prompt = prompts[response.prompt_id]
        same = prompt_id, hashlib.sha256(response.text.encode()).digest()
        if same not in conversations:
            measured = length(texts.read(prompt), response.text)
            if measured is None:
                conversations[same] = "ambiguous"
            elif limit is not None and measured > limit:
                conversations[same] = "too_long"
            else:
                conversations[same] = Conversation(prompt, texts.add(response.text), measured)
        found = conversations[same]
        if isinstance(found, str):
            unscored[found] += 1
        else:
            found.keys.append((prompt_id, sys.intern(response.source), response.sample_index))
    return [one for one in conversations.values() if isinstance(one, Conversation)], unscored


def make_batches(conversations: list[Conversation], batch_size: int) -> list[list[Conversation]]:
    """Split conversations into batches, the longest first: the first batch shows whether the memory suffices."""
    ranked = sorted(conversations, key=lambda one: (-one.length, one.keys))
    return [ranked[start : start + batch_size] for start in range(0, len(ranked), batch_size)]
