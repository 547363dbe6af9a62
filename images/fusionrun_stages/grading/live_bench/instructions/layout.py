"""Instructions on the format of a response, its beginning and its end.

Source: LiveBench 0.0.4, if_runner/instruction_following_eval/instructions.py, a copy of IFEval's (Google Research).
"""

import json
import re

from fusionrun_stages.grading.live_bench.instructions.arguments import Arguments

_CONSTRAINED = ("My answer is yes.", "My answer is no.", "My answer is maybe.")
_POSTSCRIPTS = {"P.S.": r"p\.\s?s\.", "P.P.S": r"p\.\s?p\.\s?s"}
"""Patterns of the two usual markers, in lower case."""
_RESPONSES = 2
_RESPONSE_SEPARATOR = "******"


def has_placeholders(text: str, arguments: Arguments) -> bool:
    """Check ``detectable_content:number_placeholders``: at least as many texts in square brackets."""
    return len(re.findall(r"\[.*?\]", text)) >= arguments.number("num_placeholders")


def has_postscript(text: str, arguments: Arguments) -> bool:
    """Check ``detectable_content:postscript``: the marker is anywhere."""
    marker = arguments.text("postscript_marker")
    return re.search(_POSTSCRIPTS.get(marker, marker.lower()), text.lower()) is not None


def has_bullets(text: str, arguments: Arguments) -> bool:
    """Check ``detectable_format:number_bullet_lists``: lines that begin with an asterisk or a hyphen."""
    asterisks = re.findall(r"^\s*\*[^\*].*$", text, re.MULTILINE)
    hyphens = re.findall(r"^\s*-.*$", text, re.MULTILINE)
    return len(asterisks) + len(hyphens) == arguments.number("num_bullets")


def has_constrained_response(text: str, _arguments: Arguments) -> bool:
    """Check ``detectable_format:constrained_response``."""
    return any(option in text for option in _CONSTRAINED)


def has_highlights(text: str, arguments: Arguments) -> bool:
    """Check ``detectable_format:number_highlighted_sections``.

    A text in double asterisks counts once, although the pattern for single ones finds parts of it: those are empty.
    """
    single = [found.strip("*").strip() for found in re.findall(r"\*[^\n\*]*\*", text)]
    double = [found[2:-2].strip() for found in re.findall(r"\*\*[^\n\*]*\*\*", text)]
    return sum(1 for highlight in single + double if highlight) >= arguments.number("num_highlights")


def has_sections(text: str, arguments: Arguments) -> bool:
    """Check ``detectable_format:multiple_sections``: the separator and a number, such as ``Section 1``."""
    separator = arguments.text("section_spliter")
    count = len(re.split(rf"\s?{separator}\s?\d+\s?", text)) - 1
    return count >= arguments.number("num_sections")


def is_json(text: str, _arguments: Arguments) -> bool:
    """Check ``detectable_format:json_format``; a fence around it does not count."""
    text = text.strip()
    for fence in ("```json", "```Json", "```JSON", "```"):
        text = text.removeprefix(fence)
    try:
        json.loads(text.removesuffix("```").strip())
    except (ValueError, RecursionError):
        return False
    return True


def has_title(text: str, _arguments: Arguments) -> bool:
    """Check ``detectable_format:title``: a text in double angular brackets."""
    return any(title.lstrip("<").rstrip(">").strip() for title in re.findall(r"<<[^\n]+>>", text))


def has_two_responses(text: str, _arguments: Arguments) -> bool:
    """Check ``combination:two_responses``: two different texts with six asterisks between them."""
    parts = [part.strip() for part in text.split(_RESPONSE_SEPARATOR)]
    responses = [part for part in parts if part]
    return all(parts[1:-1]) and len(responses) == _RESPONSES and responses[0] != responses[1]


def repeats_prompt(text: str, arguments: Arguments) -> bool:
    """Check ``combination:repeat_prompt``: the response begins with the request; case does not count."""
    return text.strip().lower().startswith(arguments.text("prompt_to_repeat").lower())


def has_end(text: str, arguments: Arguments) -> bool:
    """Check ``startend:end_checker``: the phrase ends the response; case and quotation marks do not count."""
    return text.strip().strip('"').lower().endswith(arguments.text("end_phrase").lower())


def is_quoted(text: str, _arguments: Arguments) -> bool:
    """Check ``startend:quotation``: double quotation marks around the response."""
    text = text.strip()
    return len(text) > 1 and text[0] == '"' and text[-1] == '"'


def has_no_comma(text: str, _arguments: Arguments) -> bool:
    """Check ``punctuation:no_comma``."""
    return "," not in text
