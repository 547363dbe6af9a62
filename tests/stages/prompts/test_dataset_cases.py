"""Data sets that users bring: what is read, what is counted as bad, and what is refused."""

import gzip
import json
import re
import tomllib
from pathlib import Path

import pytest

from fusionrun_stages.errors import UserError
from support.datasets import read_dataset as read

HERE = Path(__file__).parent
LARGE = {"NINES": "9" * 5000, "DEEP": "[" * 100_000 + "]" * 100_000, "MANY": '{"prompt": "Count."}\n' * 150}
"""Words of the table that stand for long texts."""


def read_cases(name):
    return [pytest.param(case, id=case["id"]) for case in tomllib.loads((HERE / name).read_text())["case"]]


def to_bytes(text):
    for word, long in LARGE.items():
        text = text.replace(word, long)
    parts = re.split(r"<x([0-9a-f]{2})>", text)
    return b"".join(bytes.fromhex(part) if index % 2 else part.encode() for index, part in enumerate(parts))


@pytest.mark.parametrize("ending", ["", ".gz"])
@pytest.mark.parametrize("case", read_cases("dataset_cases.toml"))
def test_a_text_file(tmp_path, case, ending):
    file = case["file"] + ending
    content = to_bytes(case["content"])
    (tmp_path / file).write_bytes(gzip.compress(content) if ending else content)
    fields = case.get("dataset", {})
    if "error" in case:
        with pytest.raises(UserError, match=case["error"].replace(case["file"], file)):
            read(tmp_path / file, **fields)
        return
    rows, counts = read(tmp_path / file, **fields)
    found = {
        "prompts": [row.text for row in rows],
        "last_prompt": rows[-1].text if rows else None,
        "answers": [row.answer for row in rows],
        "tests": [row.tests for row in rows],
        "responses": [row.responses for row in rows],
        "bad": dict(counts.bad),
        "first_bad": counts.first_bad,
    }
    wanted = {name: case[name] for name in found if name in case}
    if "first_bad" in wanted:
        wanted["first_bad"] = wanted["first_bad"].replace("{file}", file)
    assert {name: found[name] for name in wanted} == wanted
    assert wanted


@pytest.mark.parametrize("case", read_cases("chat_cases.toml"))
def test_a_chat(tmp_path, case):
    row = {"m": json.loads(case["m"]), "q": case.get("q")}
    (tmp_path / "x.jsonl").write_text(json.dumps(row))
    rows, counts = read(
        tmp_path / "x.jsonl", **{"columns": {"prompt": "m"}, "responses_columns": {"s": "m"}} | case.get("dataset", {})
    )
    assert counts.bad_examples == ([f"x.jsonl:1: {case['bad']}"] if "bad" in case else [])
    if "no_response" in case:
        assert counts.no_response_examples == [f"x.jsonl:1: s: {case['no_response']}"]
        assert counts.no_response.total() == 1
    responses = {"s": case["response"]} if "response" in case else {}
    assert [(row.text, row.responses) for row in rows] == ([(case["prompt"], responses)] if "prompt" in case else [])
    history = [[message.role, message.content] for row in rows for message in row.history]
    assert history == case.get("history", [])
