"""Verifiable instructions: paraphrase, simplify, story_generation and summarize.

LiveBench uses IFEval's checkers, in the strict form. All 25 that its registry has are here. Source: LiveBench 0.0.4,
if_runner/instruction_following_eval and process_results/instruction_following/utils.py.
"""

import re
from collections.abc import Callable
from typing import Any

from fusionrun_stages.grading.live_bench.instructions import contents, layout
from fusionrun_stages.grading.live_bench.instructions.arguments import Arguments
from fusionrun_stages.grading.live_bench.rows import LiveBenchRow, UngradableError
from fusionrun_stages.grading.marks import Mark

CHECKERS: dict[str, Callable[[str, Arguments], bool]] = {
    "keywords:existence": contents.has_keywords,
    "keywords:frequency": contents.has_keyword_frequency,
    "keywords:forbidden_words": contents.lacks_forbidden_words,
    "keywords:letter_frequency": contents.has_letter_frequency,
    "language:response_language": contents.has_language,
    "length_constraints:number_sentences": contents.has_sentences,
    "length_constraints:number_paragraphs": contents.has_paragraphs,
    "length_constraints:number_words": contents.has_words,
    "length_constraints:nth_paragraph_first_word": contents.has_first_word,
    "detectable_content:number_placeholders": layout.has_placeholders,
    "detectable_content:postscript": layout.has_postscript,
    "detectable_format:number_bullet_lists": layout.has_bullets,
    "detectable_format:constrained_response": layout.has_constrained_response,
    "detectable_format:number_highlighted_sections": layout.has_highlights,
    "detectable_format:multiple_sections": layout.has_sections,
    "detectable_format:json_format": layout.is_json,
    "detectable_format:title": layout.has_title,
    "combination:two_responses": layout.has_two_responses,
    "combination:repeat_prompt": layout.repeats_prompt,
    "startend:end_checker": layout.has_end,
    "startend:quotation": layout.is_quoted,
    "change_case:capital_word_frequency": contents.has_capital_words,
    "change_case:english_capital": contents.is_english_in_capitals,
    "change_case:english_lowercase": contents.is_english_in_lower_case,
    "punctuation:no_comma": layout.has_no_comma,
}
"""The checker of each instruction: the response, the arguments, and whether the response follows the instruction."""


def grade_instructions(row: LiveBenchRow, text: str) -> Mark:
    """Grade a response: the mean of 'all instructions are followed' and the share of followed instructions."""
    names, arguments = _list(row, "instruction_id_list"), _list(row, "kwargs")
    if len(arguments) < len(names):
        raise UngradableError(f"it has {len(names)} instructions and arguments for {len(arguments)}")
    results = {
        index: _follows(name, values, text) for index, (name, values) in enumerate(zip(names, arguments, strict=False))
    }
    followed = sum(results.values())
    failed = [names[index] for index, follows in results.items() if not follows]
    detail = f"not followed: {', '.join(failed)}" if failed else ""
    return Mark((float(not failed) + followed / len(names)) / 2, detail, parsed=bool(text.strip()))


def _list(row: LiveBenchRow, name: str) -> list[Any]:
    value = row.fields.get(name)
    if not isinstance(value, list) or not value:
        raise UngradableError(f"its {name} is {value!r}, not a list")
    return value


def _follows(name: Any, values: Any, text: str) -> bool:
    checker = CHECKERS.get(name) if isinstance(name, str) else None
    if checker is None:
        raise UngradableError(f"it has the instruction {name!r}, which is not one of IFEval's 25")
    # Columns of Parquet have every argument of every instruction; those of other instructions are null.
    arguments = Arguments(name, values if isinstance(values, dict) else {})
    try:
        return checker(text, arguments) and bool(text.strip())
    except re.error as error:
        raise UngradableError(f"{name}: an argument is no regular expression: {error}") from None
