"""The comparison as text: tables for a terminal."""

from collections.abc import Iterable, Sequence
from typing import Any


def to_text(document: dict[str, Any]) -> str:
    """Return the tables of a comparison (``__main__.compare``)."""
    parts = [
        _table("Rows", ("side", "data set", *_COUNTS, "prompts by pairs"), _counts(document)),
        _table("Sources, in percent of the rows", ("side", "data set", "rows", "source model", "%"), _models(document)),
        _table(
            "Lengths in characters, by quantile",
            ("side", "data set", "text", *_quantiles(document)),
            _lengths(document),
        ),
    ]
    if "overlap" in document:
        header = ("data set", "prompts", "published as", "shared", "in the same sets", "SFT on both", "with one source")
        parts.append(_table("Prompts of the run in the published files", header, _overlap(document["overlap"])))
    unusable = [(side, reason, n) for side in _sides(document) for reason, n in document[side]["unusable"].items()]
    if unusable:
        parts.append(_table("Unusable rows", ("side", "reason", "rows"), unusable))
    return "\n".join(parts)


_COUNTS = {
    "SFT rows": "sft_rows",
    "pairs": "pairs",
    "prompts": "prompts",
    "in both": "prompts_in_sft_and_dpo",
    "one source": "of_these_with_one_source",
    "chosen is SFT": "pairs_whose_chosen_is_the_sft_response",
    "several turns": "prompts_of_several_turns",
    "marks": "rows_with_marks_in_a_message",
    "system": "rows_with_system_prompt",
    "equal sides": "pairs_with_equal_sides",
}


def _sides(document: dict[str, Any]) -> list[str]:
    return [side for side in ("published", "run") if side in document]


def _datasets(document: dict[str, Any]) -> Iterable[tuple[str, str, dict[str, Any]]]:
    for side in _sides(document):
        for name, counts in document[side]["datasets"].items():
            yield side, name, counts


def _counts(document: dict[str, Any]) -> Iterable[tuple[object, ...]]:
    for side, name, counts in _datasets(document):
        yield side, name, *(counts[key] for key in _COUNTS.values()), _spread(counts["prompts_by_pairs"])


def _spread(by_pairs: dict[str, int]) -> str:
    return ", ".join(f"{count} x {pairs}" for pairs, count in by_pairs.items())


def _models(document: dict[str, Any]) -> Iterable[tuple[object, ...]]:
    for side, name, counts in _datasets(document):
        for rows, key in (("SFT", "sft_rows_by_source_model"), ("pairs", "pairs_by_source_model")):
            total = sum(counts[key].values())
            for model, count in counts[key].items():
                yield side, name, rows, model, f"{100 * count / total:.1f}"


def _quantiles(document: dict[str, Any]) -> Sequence[str]:
    return next((list(q) for _, _, counts in _datasets(document) for q in counts["characters"].values()), [])


def _lengths(document: dict[str, Any]) -> Iterable[tuple[object, ...]]:
    for side, name, counts in _datasets(document):
        for text, quantiles in counts["characters"].items():
            yield side, name, text, *quantiles.values()


def _overlap(overlap: dict[str, Any]) -> Iterable[tuple[object, ...]]:
    for name, found in overlap.items():
        most = found.get("published_as", "")
        agreed = [
            found.get(key, "") for key in ("in_the_same_sets", "in_sft_on_both_sides", "of_these_with_one_source")
        ]
        yield name, found["prompts"], most, found["shared"].get(most, 0), *agreed


def _table(title: str, header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Return an aligned table; numbers to the right."""
    cells = [list(header), *([f"{v:,}" if isinstance(v, int) else str(v) for v in row] for row in rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(header))]
    is_number = [
        all(row[c].replace(",", "").replace(".", "").isdecimal() for row in cells[1:]) for c in range(len(header))
    ]
    lines = [
        "  ".join(
            cell.rjust(w) if right else cell.ljust(w) for cell, w, right in zip(row, widths, is_number, strict=True)
        )
        for row in cells
    ]
    return "\n".join([title, *(line.rstrip() for line in lines), ""])
