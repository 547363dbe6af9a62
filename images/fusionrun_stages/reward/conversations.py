"""The conversations of a shard that are to be scored: their lengths in memory, their texts on the pod's own disk.

A shard of long responses is larger than a pod: of each conversation no more is held than whose it is, how long it is
and where its texts lie (well below 1 KiB), and one batch's texts at a time.
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

Key = tuple[str, str, int]
"""Prompt, source and sample."""
Place = tuple[int, int]
"""Offset and length in bytes."""
Length = Callable[[str, str], int | None]
"""Measures prompt and answer; None: they cannot be scored."""


class Texts:
    """Texts in a file without a name: it goes with the process."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._end = 0

    def add(self, text: str) -> Place:
        """Write a text; return where it lies."""
        data = memoryview(text.encode())
        place = self._end, len(data)
        while data:
            written = os.pwrite(self._descriptor, data, self._end)
            self._end, data = self._end + written, data[written:]
        return place

    def read(self, place: Place) -> str:
        """Return the text that lies at a place."""
        offset, length = place
        parts = []
        while length:
            parts.append(os.pread(self._descriptor, length, offset))
            offset, length = offset + len(parts[-1]), length - len(parts[-1])
        return b"".join(parts).decode()


@contextmanager
def texts_on_disk() -> Iterator[Texts]:
    """Open a place for texts in the pod's scratch folder."""
    with tempfile.TemporaryFile() as file:
        yield Texts(file.fileno())


@dataclass(slots=True)
class Conversation:
    """What is scored: the responses to one prompt that say the same are scored once, and so alike to the last digit."""

    prompt: Place
    answer: Place
    length: int
    """As its scorer measures it."""
    responses: list[Key] = field(default_factory=list)


def gather(
    texts: Texts, length: Length, parameters: ScoreParameters, shard: int
) -> tuple[list[Conversation], Counter[str]]:
    """Read the conversations to score, and count the responses left out by reason.

    Left out are responses that are never used (failed, blank or cut ones), over-long conversations, those with the
    model's padding in their text, and data sets whose responses nobody judges (SftOnly; not counted). An endpoint says
    only when it is asked what is over-long.
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
            found.responses.append((prompt_id, sys.intern(response.source), response.sample_index))
    return [one for one in conversations.values() if isinstance(one, Conversation)], unscored


def plan(conversations: list[Conversation], batch_size: int) -> list[list[Conversation]]:
    """Part conversations into batches, the longest first: too little memory shows at once."""
    ranked = sorted(conversations, key=lambda one: (-one.length, one.responses))
    return [ranked[start : start + batch_size] for start in range(0, len(ranked), batch_size)]
