"""Index of the responses of a shard that this pod or its predecessors have stored.

A shard may have a million responses of several KiB each, so memory holds only their positions. To write the final file,
the stored rows are read one by one.
"""

import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

from fusionrun.api.records import Response
from fusionrun_stages.volume.json_lines import read_json_lines_at
from fusionrun_stages.volume.parquet import read_rows

Sample = tuple[str, int]
"""Prompt and sample index."""

OFFSET_BITS = 48
"""Low bits of a position: the offset in its file. The high bits are the number of the file; 0 is the final one."""


class StoredResponses:
    """Stored rows of a shard: in its final file, if a pod died after writing it, and in the part file of every pod.

    The final file is sorted by prompt and sample. If a sample is stored twice, the first row is used.
    """

    def __init__(self, final: Path, parts: list[Path]) -> None:
        self._final, self._parts = final, parts
        self._positions: dict[Sample, int] = {}

    def index(self) -> Iterator[Response]:
        """Record the position of every sample, and yield each sample once."""
        for number, rows in enumerate([self._final_rows(), *(read_json_lines_at(p, Response) for p in self._parts)]):
            for offset, row in rows:
                # Without intern() each sample of a prompt would keep a copy of the prompt's id.
                sample = sys.intern(row.prompt_id), row.sample_index
                if sample not in self._positions:
                    self._positions[sample] = (number << OFFSET_BITS) + offset
                    yield row

    def _final_rows(self) -> Iterator[tuple[int, Response]]:
        if self._final.is_file():
            yield from enumerate(read_rows(self._final, Response))

    def __contains__(self, sample: object) -> bool:
        return sample in self._positions

    def __len__(self) -> int:
        return len(self._positions)

    def in_order(self) -> Iterator[Response]:
        """Yield every indexed sample, sorted by prompt and sample."""
        with ExitStack() as stack:
            files = [stack.enter_context(path.open("rb")) for path in self._parts]
            final_rows = self._final_rows()  # in the same order, so one pass is enough
            for sample in sorted(self._positions):
                number, start = divmod(self._positions[sample], 1 << OFFSET_BITS)
                if number == 0:
                    yield next(row for index, row in final_rows if index == start)
                else:
                    file = files[number - 1]
                    file.seek(start)
                    yield Response.model_validate_json(file.readline())
