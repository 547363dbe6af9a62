"""The last box of a response, by the rules of LiveBench.

Source: LiveBench 0.0.4, process_results/math/AMPS_Hard/utils.py; spatial and math_competitions have the same functions.
"""

_SPACED = "\\boxed "
_BRACED = "\\boxed{"


def last_boxed(text: str) -> str | None:
    r"""Return the content of the last box, or None.

    ``\boxed x`` is read up to the next dollar sign, and goes before ``\boxed{x}``. ``\fbox{x}`` counts only if there is
    no ``\boxed``, or if it is written with two backslashes. Dollar signs in braces are removed.
    """
    text = text.replace("\\\\fbox{", "\\\\boxed{")
    if _SPACED in text:
        return text.rpartition(_SPACED)[2].partition("$")[0]
    start = text.rfind("\\boxed")
    if start < 0:
        start = text.rfind("\\fbox")
    if start < 0:
        return None
    end = _closing_brace(text, start)
    if end is None:
        return None
    box = text[start : end + 1].replace("$", "").replace("fbox", "boxed")
    return box[len(_BRACED) : -1] if box.startswith(_BRACED) else None


def _closing_brace(text: str, start: int) -> int | None:
    depth = 0
    for index in range(start, len(text)):
        if text[index] == "{":
            depth += 1
        elif text[index] == "}":
            depth -= 1
            if depth == 0:
                return index
    return None
