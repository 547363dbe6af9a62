"""Invent tables: joins of their columns, and tables in other formats."""

import csv
import io
import json
import random
from typing import Any

from oracle.live_bench_cases.invented import Invented

COLUMNS = ["Name", "Price", "Town", "Sold on", "Weight kg", "Code", "Is new", "Notes"]
FORMATS = ["JSON", "JSONL", "HTML", "CSV", "TSV", "Markdown"]
"""The official grader gives a Markdown table 0 always: its outer columns are not equal to themselves (NaN)."""


def join(chance: random.Random) -> Invented:
    """Return a question on which columns of two tables are the same, and responses."""
    left = chance.sample(COLUMNS, chance.randrange(2, 7))
    gold = {name: f"col_{index}" for index, name in enumerate(left)}
    changed = gold | {left[0]: "col_9"}
    missing = {name: other for name, other in gold.items() if name != left[-1]}
    more = gold | {"Other": "col_8"}
    lines = "{\n" + ",\n".join(f"    '{name}': '{other}'" for name, other in gold.items()) + "\n}"
    responses = [
        f"```python\n{lines}\n```",
        f"Here:\n```python\n{gold}\n```\nIt joins the tables.",
        f"```\n{gold}\n```",
        f"```json\n{json.dumps(gold)}\n```",
        str(gold),
        f"join = {gold}",
        f"```python\njoin = {gold}\n```",
        f"```python\n{changed}\n```",
        f"```python\n{missing}\n```",
        f"```python\n{more}\n```",
        f"```python\n{gold | {left[0]: None}}\n```",
        f"```python\n{gold | {left[0]: ''}}\n```",
        f"```python\n{missing}\n```\nor\n```python\n{gold}\n```",
        f"```python\n{gold}\n``` and ``` more",
        "```python\n{}\n```",
        f"```python\n{list(gold.items())}\n```",
        f"```python\n{ {1: 2, None: 'x'} }\n```",
        "```python\n{'a': ['b']}\n```",
        "I cannot join them.",
    ]
    row = {"ground_truth": str(gold)}
    return Invented("data_analysis", "tablejoin", "Which columns are the same?", row, responses)


def _rows(chance: random.Random) -> list[dict[str, Any]]:
    """Return rows of the kinds of values that tables have: texts, integers, floats, dates, true and false, none."""
    count = chance.randrange(2, 6)
    notes = chance.choice([["ok", "new"], ["ok", "new"], ["ok", None], [None]])
    places = chance.choice(["Ulm", "Bad Aibling", "São Tomé", "New York, NY", "O'Hare", "3 & 4"])
    columns: dict[str, list[Any]] = {
        "Name": [f"{chance.choice(['Ada', 'Bo', 'Cleo'])} {n}" for n in range(count)],
        "Price": [round(chance.uniform(1, 90), 2) for _ in range(count)],
        "Town": [places] * count,
        "Sold date": [f"2021-0{chance.randrange(1, 9)}-1{n}" for n in range(count)],
        "Weight kg": [chance.randrange(1, 90) for _ in range(count)],
        "Code": [f"0{chance.randrange(10, 99)}" for _ in range(count)],
        "Is new": [chance.choice([True, False]) for _ in range(count)],
        "Notes": [chance.choice(notes) for _ in range(count)],
    }
    names = chance.sample(list(columns), chance.randrange(2, 6))
    return [{name: columns[name][n] for name in names} for n in range(count)]


def write(rows: list[dict[str, Any]], form: str, chance: random.Random) -> str:
    """Return the table as text in a format."""
    names = list(rows[0])
    if form == "JSON":
        if chance.random() < 0.5:
            return json.dumps({str(n): row for n, row in enumerate(rows)}, indent=2)
        return json.dumps(rows)
    if form == "JSONL":
        return "\n".join(json.dumps(row) for row in rows)
    if form == "HTML":
        head = "".join(f"<th>{name}</th>" for name in names)
        body = "".join(
            "<tr>" + "".join(f"<td>{'' if row[name] is None else row[name]}</td>" for name in names) + "</tr>\n"
            for row in rows
        )
        return f"<table>\n<thead><tr>{head}</tr></thead>\n<tbody>{body}</tbody></table>"
    if form == "Markdown":
        cells = [names, ["---"] * len(names), *([str(row[name] or "") for name in names] for row in rows)]
        return "\n".join("| " + " | ".join(line) + " |" for line in cells)
    out = io.StringIO()
    writer = csv.writer(out, delimiter="," if form == "CSV" else "\t", lineterminator="\n")
    writer.writerows([names, *(list(row.values()) for row in rows)])
    return out.getvalue()


def reformat(chance: random.Random) -> Invented:
    """Return a question that asks for another format of a table, and responses."""
    rows = _rows(chance)
    form = chance.choice([*FORMATS[:-1], *FORMATS])
    source = chance.choice([name for name in FORMATS if name != form])
    prompt = (
        f"Please convert the Input Table from {source} format to {form} format. Respond only with the table.\n\n"
        f"Input Table:\n{write(rows, source, chance)}"
    )
    gold = write(rows, form, chance)
    name = next(iter(rows[0]))
    fewer = write(rows[:-1], form, chance)
    renamed = write(
        [{("Other" if key == name else key): cell for key, cell in row.items()} for row in rows], form, chance
    )
    changed = write([*rows[:-1], rows[-1] | {name: "99"}], form, chance)
    order = [dict(reversed(row.items())) for row in reversed(rows)]
    responses = [
        gold,
        f"```{form.lower()}\n{gold}\n```",
        f"```\n{gold}```",
        f"Here is the table in {form} format:\n{gold}",
        f"Here is the converted table:\n\n```{form.lower()}\n{gold}\n```",
        f"Input Table in {form} format:\n{gold}",
        f"Sure! {gold}",
        f"{gold}\nI hope it helps.",
        write(order, form, chance),
        write([{key.upper(): cell for key, cell in row.items()} for row in rows], form, chance),
        fewer,
        renamed,
        changed,
        write(rows, source, chance),
        write(rows, form, chance),
        write([{key: ("" if cell is None else str(cell)) for key, cell in row.items()} for row in rows], form, chance),
        "",
    ]
    return Invented("data_analysis", "tablereformat", prompt, {"ground_truth": gold}, responses)
