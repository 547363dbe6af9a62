"""The replies to the requests of a task, stored as they are received."""

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

from fusionrun.api.tasks.harness import AnswerKind, HarnessAnswer
from fusionrun_stages.volume.json_lines import JsonLines, read_json_lines

PREFIX = "lm-eval"
"""Start of the names of the files, so that none is taken for the rows of a shard."""


def key_of(kind: AnswerKind, *parts: Any) -> str:
    """Return the hash of a request: its text or conversation, and the settings or the continuation."""
    return hashlib.sha256(json.dumps([kind, *parts], sort_keys=True, default=str).encode()).hexdigest()


class StoredAnswers:
    """Replies that this pod or its predecessors received; a context manager.

    They are in memory, as lm-eval has them all in memory too: about 1 KiB and the text per reply.
    """

    def __init__(self, parts: Path, benchmark: str, pod_uid: str) -> None:
        self._parts = parts
        self._benchmark = benchmark
        self._answers: dict[tuple[str, int], HarnessAnswer] = {}
        for path in self._files():
            for row in read_json_lines(path, HarnessAnswer):
                self._answers.setdefault((row.key, row.sample_index), row)
        self.lines = JsonLines(parts / f"{PREFIX}.{benchmark}.{pod_uid}.jsonl.part")
        self._open = True

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Sync and close the file of this pod."""
        if self._open:
            self._open = False
            self.lines.close()

    def __len__(self) -> int:
        return len(self._answers)

    def __iter__(self) -> Iterator[HarnessAnswer]:
        return iter(self._answers.values())

    def find(self, key: str, sample_index: int = 0) -> HarnessAnswer | None:
        """Return the stored reply to a request; None if there is none."""
        return self._answers.get((key, sample_index))

    def add(self, answer: HarnessAnswer) -> None:
        """Store a reply."""
        self.lines.append(answer)
        self._answers[answer.key, answer.sample_index] = answer

    def remove_files(self) -> None:
        """Remove the files of all pods: the results are written, or the requests must be sent again."""
        self.close()
        for path in self._files():
            path.unlink(missing_ok=True)

    def _files(self) -> list[Path]:
        return sorted(self._parts.glob(f"{PREFIX}.{self._benchmark}.*.jsonl.part"))
