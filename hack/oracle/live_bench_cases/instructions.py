"""Invent questions with verifiable instructions, and responses that follow them, nearly follow them, or do not."""

import random
from collections.abc import Callable

from oracle.live_bench_cases import contents, layout
from oracle.live_bench_cases.invented import Invented
from oracle.live_bench_cases.prose import Made

CHECKED: dict[str, Callable[[random.Random], Made]] = {
    "keywords:existence": contents.existence,
    "keywords:frequency": contents.frequency,
    "keywords:forbidden_words": contents.forbidden,
    "keywords:letter_frequency": contents.letter,
    "language:response_language": contents.language,
    "length_constraints:number_sentences": contents.sentences,
    "length_constraints:number_paragraphs": contents.paragraphs,
    "length_constraints:number_words": contents.words,
    "length_constraints:nth_paragraph_first_word": contents.first_word,
    "detectable_content:number_placeholders": layout.placeholders,
    "detectable_content:postscript": layout.postscript,
    "detectable_format:number_bullet_lists": layout.bullets,
    "detectable_format:constrained_response": layout.constrained,
    "detectable_format:number_highlighted_sections": layout.highlights,
    "detectable_format:multiple_sections": layout.sections,
    "detectable_format:json_format": layout.json_value,
    "detectable_format:title": layout.title,
    "combination:two_responses": layout.two,
    "combination:repeat_prompt": layout.repeat,
    "startend:end_checker": layout.end,
    "startend:quotation": layout.quotation,
    "change_case:capital_word_frequency": contents.capital_words,
    "change_case:english_capital": contents.case,
    "change_case:english_lowercase": contents.case,
    "punctuation:no_comma": layout.comma,
}
_TASKS = ["paraphrase", "simplify", "story_generation", "summarize"]


def follow(first: str, chance: random.Random) -> Invented:
    """Invent a question with this and up to two other instructions."""
    names = [first, *chance.sample([name for name in CHECKED if name != first], chance.randrange(3))]
    made = [CHECKED[name](chance) for name in names]
    # Rows in Parquet have every argument, null where an instruction has none of that name.
    row = {
        "instruction_id_list": names,
        "kwargs": [{"num_words": None, "keywords": None} | arguments for arguments, _ in made],
    }
    responses = [*made[0][1], *(text for _, texts in made[1:] for text in texts[:2]), " \n"]
    prompt = f"Do it. ({chance.randrange(10**6)})"
    return Invented("instruction_following", chance.choice(_TASKS), prompt, row, responses)
