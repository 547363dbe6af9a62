"""Instructions on keywords, lengths and letters.

Source: LiveBench 0.0.4, if_runner/instruction_following_eval/instructions.py, a copy of IFEval's (Google Research).
Keywords are regular expressions there, and here.
"""

import re

from fusionrun_stages.grading.live_bench.instructions.arguments import Arguments
from fusionrun_stages.grading.live_bench.instructions.tokens import is_in_language, split_sentences, split_words
from fusionrun_stages.grading.live_bench.rows import UngradableError

_WORD_ENDS = frozenset(".,?!'\"")
"""Characters that end the first word of a paragraph."""


def has_keywords(text: str, arguments: Arguments) -> bool:
    """Check ``keywords:existence``."""
    return all(re.search(keyword, text, re.IGNORECASE) for keyword in arguments.texts("keywords"))


def has_keyword_frequency(text: str, arguments: Arguments) -> bool:
    """Check ``keywords:frequency``."""
    count = len(re.findall(arguments.text("keyword"), text, re.IGNORECASE))
    return arguments.compare(count, "frequency")


def lacks_forbidden_words(text: str, arguments: Arguments) -> bool:
    """Check ``keywords:forbidden_words``."""
    words = arguments.texts("forbidden_words")
    return not any(re.search(rf"\b{word}\b", text, re.IGNORECASE) for word in words)


def has_letter_frequency(text: str, arguments: Arguments) -> bool:
    """Check ``keywords:letter_frequency``; case does not count."""
    letter = arguments.text("letter").lower()
    if len(letter) != 1 or not "a" <= letter <= "z":
        raise UngradableError(f"{arguments.instruction}: letter is {letter!r}, not a letter from a to z")
    return arguments.compare(text.lower().count(letter), "let_frequency", "let_relation")


def has_language(text: str, arguments: Arguments) -> bool:
    """Check ``language:response_language``."""
    return is_in_language(text, arguments.text("language"))


def has_sentences(text: str, arguments: Arguments) -> bool:
    """Check ``length_constraints:number_sentences``."""
    return arguments.compare(len(split_sentences(text)), "num_sentences")


def has_words(text: str, arguments: Arguments) -> bool:
    """Check ``length_constraints:number_words``: runs of word characters."""
    return arguments.compare(len(re.findall(r"\w+", text)), "num_words")


def has_paragraphs(text: str, arguments: Arguments) -> bool:
    """Check ``length_constraints:number_paragraphs``: three asterisks separate them, and none is empty."""
    paragraphs = [paragraph.strip() for paragraph in re.split(r"\s?\*\*\*\s?", text)]
    count = sum(1 for paragraph in paragraphs if paragraph)
    return all(paragraphs[1:-1]) and count == arguments.number("num_paragraphs")


def has_first_word(text: str, arguments: Arguments) -> bool:
    """Check ``length_constraints:nth_paragraph_first_word``: two line feeds separate paragraphs."""
    expected, nth = arguments.number("num_paragraphs"), arguments.number("nth_paragraph")
    if not 1 <= nth <= expected:
        raise UngradableError(f"{arguments.instruction}: nth_paragraph is {nth}, not from 1 to {expected}")
    paragraphs = [paragraph.strip() for paragraph in text.split("\n\n")]
    count = sum(1 for paragraph in paragraphs if paragraph)
    # The place counts empty paragraphs, the number does not.
    if nth > count or not paragraphs[nth - 1]:
        return False
    word = paragraphs[nth - 1].split()[0].lstrip("'").lstrip('"')
    length = next((index for index, character in enumerate(word) if character in _WORD_ENDS), len(word))
    return count == expected and _lower(word[:length]) == arguments.text("first_word").lower()


def _lower(word: str) -> str:
    # Letter by letter, as in IFEval: str.lower() of a word depends on the place of a Greek sigma.
    return "".join(character.lower() for character in word)


def has_capital_words(text: str, arguments: Arguments) -> bool:
    """Check ``change_case:capital_word_frequency``."""
    count = sum(1 for word in split_words(text) if word.isupper())
    return arguments.compare(count, "capital_frequency", "capital_relation")


def is_english_in_capitals(text: str, _arguments: Arguments) -> bool:
    """Check ``change_case:english_capital``."""
    return text.isupper() and is_in_language(text, "en")


def is_english_in_lower_case(text: str, _arguments: Arguments) -> bool:
    """Check ``change_case:english_lowercase``."""
    return text.islower() and is_in_language(text, "en")
