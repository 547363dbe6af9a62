"""The blocks of a response: fenced as in CommonMark (section 4.5), and as models really write fences.

Beyond CommonMark: words before the fence, a closing fence at the end of the last line of code, a whole block on one
line, any indentation, a closing fence that is missing before the next block, and fences inside docstrings. Drafts
(``models.reasoning``) are left out.

Every line is read once, or twice if a fence was taken for a part of a docstring by mistake.
"""

import re
import textwrap
from collections import Counter
from dataclasses import dataclass, field

from fusionrun_stages.grading.coding.labels import Language, is_label, read_label
from fusionrun_stages.grading.coding.strings import quote_after
from fusionrun_stages.grading.coding.syntax import parse
from fusionrun_stages.models.reasoning import CLOSING, OPENING

MAX_NESTING = 2
"""A response, in a block of a response."""
_QUOTE = re.compile(r"[ \t]*>[ \t]?")
_LEAD = re.compile(r"[ \t]*(?:(?:[-*+]|\d{1,9}[.)])[ \t]+)*")
_HEADING = re.compile(r"[ \t]*(?:#{1,6}[ \t]|\*\*|\d{1,9}[.)][ \t])")
_INTERACTIVE = re.compile(r"\s*(?:>>>|In \[\d+\]:)")
_CLOSING_INDENT = 3
"""A closing fence may be indented by this much more than its opening fence (CommonMark)."""


@dataclass(frozen=True)
class Block:
    """A block of a response that may be a program."""

    language: Language
    text: str
    intro: str = ""
    """The headings since the block before, and the line of text before this block."""


@dataclass
class Blocks:
    """The blocks of a response in their order, and the lines outside of them."""

    blocks: list[Block] = field(default_factory=list)
    outside: list[str] = field(default_factory=list)


@dataclass
class _Fence:
    """An opening fence, and the lines since."""

    mark: str
    language: Language
    indent: int
    quoted: bool
    intro: str
    lines: list[str]
    quote: str | None = None
    """Of the triple-quoted string that is open."""
    refused: tuple[int, int] | None = None
    """Number of the first line that would have closed the block outside of a string, and of the lines of code then."""


def read_blocks(answer: str, nesting: int = 0) -> Blocks:
    """Return the blocks of a response; ``answer`` has no carriage returns."""
    found = _Reader(answer.split("\n")).read()
    blocks: list[Block] = []
    for block in found.blocks:
        nested = block.language is Language.PLAIN and nesting < MAX_NESTING and has_fence(block.text)
        inner = read_blocks(block.text, nesting + 1).blocks if nested and parse(block.text) is None else []
        blocks += inner or [block]
    found.blocks = blocks
    return found


def has_fence(text: str) -> bool:
    """Return whether a text may have a fenced block."""
    return "```" in text or "~~~" in text


class _Reader:
    """One pass over the lines of a response."""

    def __init__(self, lines: list[str]) -> None:
        self._lines = lines
        self._found = Blocks()
        self._fence: _Fence | None = None
        self._thinking = False
        self._wrappers: Counter[str] = Counter()
        self._headings: list[str] = []
        self._before = ""
        self._follow_strings = True

    def read(self) -> Blocks:
        number = 0
        while number < len(self._lines) or self._fence:
            if number == len(self._lines):
                number = self._close(number)
            elif self._fence:
                number = self._read_code(self._fence, self._lines[number], number)
            else:
                self._read_text(self._lines[number])
                number += 1
        return self._found

    def _read_text(self, line: str) -> None:
        if self._thinking:
            end = CLOSING.search(line)
            if end is None:
                return
            self._thinking = False
            line = line[end.end() :]
        elif end := CLOSING.search(line):
            if not OPENING.match(line.lstrip()):  # the chat template began the draft
                self._found = Blocks()
            line = line[end.end() :]
        if OPENING.match(line.lstrip()):
            self._thinking = True
        elif not self._open(line):
            self._found.outside.append(line)
            if line.strip():
                self._before = line
                if _HEADING.match(line):
                    self._headings.append(line)

    def _open(self, line: str) -> bool:
        """Open a block if the line has an opening fence."""
        quoted = _QUOTE.match(line)
        body = line[quoted.end() :] if quoted else line
        lead = _LEAD.match(body)
        indent = lead.end() if lead else 0
        mark, before, info = _split_fence(body, indent)
        if not mark:
            return False
        if mark[0] == "`" and "```" in before:
            return self._add_inline(before)
        if "`" in info or (before.strip() and not is_label(info)):
            return False
        bare = not info.strip() and len(before) <= indent
        if bare and self._wrappers[mark]:
            self._wrappers[mark] -= 1
            return True
        language, code = read_label(info)
        if language is Language.MARKDOWN:
            self._wrappers[mark] += 1
            return True
        if len(before) > indent:
            indent = len(body) - len(body.lstrip())
            self._before = before
        intro = "\n".join([*self._headings, self._before])
        self._fence = _Fence(mark, language, indent, quoted is not None, intro, [" " * indent + code] if code else [])
        return True

    def _add_inline(self, text: str) -> bool:
        """Add a block whose fences are on one line, if it is a program."""
        language, code = read_label(text[text.index("```") :].lstrip("`"))
        if code:
            self._found.blocks.append(Block(language, code + "\n", self._before))
        return bool(code)

    def _read_code(self, fence: _Fence, line: str, number: int) -> int:
        """Read a line of a block; return the number of the next line to read."""
        if fence.quoted:
            mark = _QUOTE.match(line)
            if mark is None:
                return self._close(number)
            line = line[mark.end() :]
        text = line.strip()
        if fence.quote is None and CLOSING.match(text):
            self._fence = None
            self._found = Blocks()
            self._read_text(text)
            return number + 1
        character = fence.mark[0]
        starts = text.startswith(fence.mark) and _indent_of(line) <= fence.indent + _CLOSING_INDENT
        info = text.lstrip(character)
        ends = not starts and text.endswith(fence.mark)
        code = line.rstrip().rstrip(character) if ends else ""
        open_quote = quote_after(code if ends else line, fence.quote) if self._reads_strings(fence) else None
        if (starts or ends) and (fence.quote if starts else open_quote):
            fence.refused = fence.refused or (number, len(fence.lines))
        elif starts and character not in info:
            following = self._close(number + 1)
            if following == number + 1 and info.strip():
                self._read_text(
                    " " * fence.indent + character * (len(text) - len(info)) + info if is_label(info) else info
                )
            return following
        elif ends:
            fence.lines.append(code)
            return self._close(number + 1)
        fence.quote = open_quote
        fence.lines.append(line)
        return number + 1

    def _reads_strings(self, fence: _Fence) -> bool:
        return self._follow_strings and fence.language is not Language.OTHER

    def _close(self, following: int) -> int:
        """End the block; return the number of the next line to read."""
        fence, self._fence = self._fence, None
        assert fence is not None
        text = _dedent(fence.lines, fence.indent)
        if fence.refused is not None and self._follow_strings and parse(text) is None:
            # The string was not closed: read the block again, up to the first fence.
            self._follow_strings = False
            following, kept = fence.refused
            self._fence = fence
            fence.lines, fence.quote, fence.refused = fence.lines[:kept], None, None
            return following
        if text.strip():
            language = Language.OTHER if _INTERACTIVE.match(text) else fence.language
            self._found.blocks.append(Block(language, text, fence.intro))
        self._headings, self._before = [], ""
        return following


def _split_fence(line: str, indent: int) -> tuple[str, str, str]:
    """Return a line's fence with the text before and after it; the fence is empty if there is none."""
    for character in "`~":
        if line.startswith(character * 3, indent):
            rest = line[indent:].lstrip(character)
            if character == "~" or "`" not in rest:
                return character * (len(line) - indent - len(rest)), line[:indent], rest
    end = line.rfind("```") + 3
    if end < 3:  # noqa: PLR2004 (not found)
        return "", line, ""
    start = len(line[:end].rstrip("`"))
    return line[start:end], line[:start], line[end:]


def _dedent(lines: list[str], indent: int) -> str:
    """Return a block's text without the indentation of its fence, in the first way that makes it valid Python."""
    common = min([indent, *(_indent_of(line) for line in lines if line.strip())])
    as_fence = [line[min(indent, _indent_of(line)) :] for line in lines]  # CommonMark
    text = _trim([line[common:] for line in lines])
    for other in (text, _trim(as_fence), textwrap.dedent(text)):
        if parse(other):
            return other
    return text


def _trim(lines: list[str]) -> str:
    return "\n".join(lines).strip("\n").rstrip() + "\n"


def _indent_of(line: str) -> int:
    return len(line) - len(line.lstrip(" \t"))
