"""The length-controlled win rate, against the results of alpaca-eval (hack/oracle/length_control.py)."""

import json
import math
from pathlib import Path

import pytest

from fusionrun_stages.errors import UserError
from fusionrun_stages.judges.length_control import Gamed, length_controlled, read_gamed

ORACLE = json.loads((Path(__file__).parent / "length_control.json").read_text(encoding="utf-8"))
HEADER = "preference,index,std_delta_len,instruction_difficulty,not_gamed_baseline,model"


def gamed() -> Gamed:
    preferences, _, lengths, difficulty, _, _ = zip(*ORACLE["gamed"], strict=True)
    return Gamed(preferences, lengths, difficulty)


def difficulty(count: int) -> list[float]:
    return [row[3] for row in ORACLE["gamed"][:count]]


@pytest.mark.parametrize("case", ORACLE["cases"], ids=lambda case: case["name"])
def test_official_results(case) -> None:
    count = len(case["preferences"])
    deltas = [baseline - model for baseline, model in case["lengths"]]
    found = length_controlled(case["preferences"], deltas, difficulty(count), gamed())
    assert found.values == pytest.approx(case["values"], abs=1e-6)
    assert sum(found.values) / count == pytest.approx(case["length_controlled"], abs=1e-6)
    assert found.standard_error == pytest.approx(case["standard_error"], abs=1e-6)


def test_baseline_against_itself_is_50() -> None:
    found = length_controlled([50.0] * 30, [0] * 30, difficulty(30), gamed())
    assert set(found.values) == {50.0}
    assert found.standard_error == 0


def test_responses_of_the_baselines_length() -> None:
    found = length_controlled([80.0] * 30, [0] * 30, difficulty(30), gamed())
    assert 70 < sum(found.values) / 30 < 85


def test_one_question() -> None:
    found = length_controlled([70.0], [12], difficulty(1), gamed())
    assert len(found.values) == 1
    assert math.isnan(found.standard_error)


def test_without_preferences() -> None:
    with pytest.raises(ValueError, match="no preferences"):
        length_controlled([None, None], [1, 2], difficulty(2), gamed())


def test_gamed_file(tmp_path: Path) -> None:
    rows = [",".join(map(str, row)) for row in ORACLE["gamed"]]
    (tmp_path / "gamed.csv").write_text("\n".join([HEADER, *rows, ""]), encoding="utf-8")
    assert read_gamed(tmp_path) == gamed()


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ([], "the column preference is missing"),
        ([HEADER], "there are no rows"),
        ([HEADER, "0.5,0,-1.2,much,False,brief"], "gamed.csv:2: instruction_difficulty must be a number, not 'much'"),
        ([HEADER, "0.5,0"], "gamed.csv:2: not_gamed_baseline must be False"),
        ([HEADER, "0.5,0,inf,1,False,brief"], "std_delta_len must be a number"),
        ([HEADER, "0.5,0,1,1,True,brief"], "not_gamed_baseline must be False, not 'True'"),
    ],
)
def test_bad_gamed_file(tmp_path: Path, lines, message) -> None:
    (tmp_path / "gamed.csv").write_text("\n".join(lines), encoding="utf-8")
    with pytest.raises(UserError, match=message):
        read_gamed(tmp_path)


def test_missing_gamed_file(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"gamed\.csv: the file is missing"):
        read_gamed(tmp_path)
