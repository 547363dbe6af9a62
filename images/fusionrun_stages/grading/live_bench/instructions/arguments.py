"""The arguments of an instruction, as a row of the data set has them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from fusionrun_stages.grading.live_bench.rows import UngradableError


@dataclass(frozen=True)
class Arguments:
    """The arguments of one instruction. LiveBench would draw a missing one at random; here it is an error."""

    instruction: str
    values: Mapping[str, Any]

    def number(self, name: str) -> int:
        """Return an integer that is not negative.

        Raises
        ------
        UngradableError
            The row has no such number.
        """
        value = self.values.get(name)
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        if not isinstance(value, int) or value < 0:
            raise UngradableError(f"{self.instruction}: {name} is {value!r}, not an integer from 0")
        return value

    def text(self, name: str) -> str:
        """Return a text without white space at the ends.

        Raises
        ------
        UngradableError
            The row has no such text, or it is empty.
        """
        value = self.values.get(name)
        if not isinstance(value, str) or not value.strip():
            raise UngradableError(f"{self.instruction}: {name} is {value!r}, not a text")
        return value.strip()

    def texts(self, name: str) -> list[str]:
        """Return a list of texts.

        Raises
        ------
        UngradableError
            The row has no such list, or it is empty.
        """
        value = self.values.get(name)
        if not isinstance(value, list) or not value or not all(isinstance(text, str) for text in value):
            raise UngradableError(f"{self.instruction}: {name} is {value!r}, not a list of texts")
        return value

    def compare(self, count: int, threshold: str, relation: str = "relation") -> bool:
        """Return whether a count is ``less than`` or ``at least`` the threshold.

        Raises
        ------
        UngradableError
            The row has no threshold, or another relation.
        """
        limit, name = self.number(threshold), self.text(relation)
        if name == "less than":
            return count < limit
        if name == "at least":
            return count >= limit
        raise UngradableError(f"{self.instruction}: {relation} is {name!r}, not 'less than' or 'at least'")
