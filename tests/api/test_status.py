"""Every reason, state and condition is used as a constant."""

import re
from pathlib import Path

import pytest

from fusionrun.api.status.conditions import ConditionType, Reason
from fusionrun.api.status.stages import StageState

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "operator" / "fusionrun"
SOURCE = {p: p.read_text() for p in PACKAGE.rglob("*.py") if p.name != "status.py"}


@pytest.mark.parametrize("value", [*Reason, *StageState, *ConditionType], ids=lambda v: f"{type(v).__name__}.{v.name}")
def test_a_reason_a_state_or_a_condition_is_used(value):
    constant = re.compile(rf"\b{type(value).__name__}\.{value.name}\b")
    assert any(constant.search(text) for text in SOURCE.values())


@pytest.mark.parametrize("reason", Reason, ids=str)
def test_a_reason_is_one_camel_case_word_named_like_its_constant(reason):
    assert re.fullmatch(r"[A-Z][A-Za-z]{1,63}", reason)
    assert re.sub(r"(?<!^)(?=[A-Z])", "_", reason).upper() == reason.name


def test_no_reason_is_written_as_a_string():
    quoted = re.compile(r'"(' + "|".join(r for r in Reason if len(re.findall(r"[A-Z]", r)) > 1) + r')"')
    found = {str(p): quoted.findall(text) for p, text in SOURCE.items()}
    assert not {p: w for p, w in found.items() if w and not p.endswith(("conditions.py", "metrics.py"))}
