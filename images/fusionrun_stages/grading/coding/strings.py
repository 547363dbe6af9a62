"""Triple-quoted strings, line by line: a fence inside one is part of the program."""

import re

_TOKEN = re.compile(r"""\#.*|\"\"\"|'''|"(?:\\.|[^"\\])*"?|'(?:\\.|[^'\\])*'?""")
_ENDS = {quote: re.compile(rf"(?:\\.|(?!{quote})[^\\])*(?:{quote})") for quote in ('"""', "'''")}


def quote_after(line: str, quote: str | None) -> str | None:
    """Return the quotes of the string that is open after a line of Python, given those of the line before."""
    position = 0
    while position < len(line):
        if quote:
            end = _ENDS[quote].match(line, position)
            if end is None:
                return quote
            position, quote = end.end(), None
        else:
            token = _TOKEN.search(line, position)
            if token is None:
                return None
            position = token.end()
            quote = token[0] if token[0] in _ENDS else None
    return quote
