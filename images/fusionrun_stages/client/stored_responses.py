"""The responses of a shard that are stored already, by this pod or its predecessors: where each lies, not the texts.

A shard may hold a million responses of some KiB each. Only their places are kept in memory; in the end they are read
again one by one, in the order in which they were asked for, more or less, and so nearly in the order of the files.
"""

import sys
from collections.abc import Iterator
from contextlib import ExitStack
from itertools import chain
from pathlib import Path

from fusionrun.api.records import Response
from fusionrun_stages.volume.json_lines import read_json_lines_at
from fusionrun_stages.volume.parquet import read_rows

Sample = tuple[str, int]
"""Prompt and sample index."""

PLACE_BITS = 48
"""Low bits of a place: the byte in its file. The others number the file; 0 is the finished one."""


class Stored:
    """What is stored of a shard: in its finished file, if a pod died after writing it, and in every pod's part.

    Parameters
    ----------
    final
        The finished file, sorted by prompt and sample.
    parts
        Files of JSON lines. Of a sample that stands twice the first counts.
    """

    def __init__(self, final: Path, parts: list[Path]) -> None:
        self._final, self._parts = final, parts
        self._places: dict[Sample, int] = {}

    def index(self) -> Iterator[Response]:
        """Note where every sample lies, and yield each once."""
        finished = enumerate(read_rows(self._final, Response)) if self._final.is_file() else iter(())
        files = [finished, *(read_json_lines_at(path, Response) for path in self._parts)]
        found = chain.from_iterable(((number, place, row) for place, row in rows) for number, rows in enumerate(files))
        for number, place, row in found:
            # The prompt's name would be kept once for each of its samples.
            sample = sys.intern(row.prompt_id), row.sample_index
            if sample not in self._places:
                self._places[sample] = (number << PLACE_BITS) + place
                yield row

    def __contains__(self, sample: object) -> bool:
        return sample in self._places

    def __len__(self) -> int:
        return len(self._places)

    def in_order(self) -> Iterator[Response]:
        """Yield every sample that was indexed, sorted by prompt and sample."""
        with ExitStack() as stack:
            files = [stack.enter_context(path.open("rb")) for path in self._parts]
            # Sorted like what is asked of it: read once, from its start to its end.
            finished = enumerate(read_rows(self._final, Response)) if self._final.is_file() else iter(())
            for sample in sorted(self._places):
                number, start = divmod(self._places[sample], 1 << PLACE_BITS)
                if number == 0:
                    yield next(row for place, row in finished if place == start)
                else:
                    file = files[number - 1]
                    file.seek(start)
                    yield Response.model_validate_json(file.readline())
