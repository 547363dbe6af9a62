"""The program in a response: the blocks that define what the prompt's tests use, and the blocks that those need."""

import ast
import re
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from functools import lru_cache

from fusionrun_stages.grading.coding.fences import Block, has_fence, read_blocks
from fusionrun_stages.grading.coding.labels import Language
from fusionrun_stages.grading.coding.names import PROVIDED, Names, Wanted, names_of_tests, read_names
from fusionrun_stages.grading.coding.prose import find_programs, is_code
from fusionrun_stages.grading.coding.syntax import parse

_ASIDE = re.compile(
    r"\b(?:slower|brute[- ]?force|naive|inefficient|less efficient|alternative|alternatively|for comparison|"
    r"another (?:way|approach|version|option|solution)|common (?:mistake|error|pitfall)s?|"
    r"(?:incorrect|wrong|buggy|broken) (?:way|approach|version|solution|program))\b",
    re.IGNORECASE,
)
_FINAL = re.compile(
    r"\b(?:optimi[sz]ed|improved|fix|fixed|correct|corrected|final|faster|better|instead|unlike|rather than|avoids?|"
    r"previous|earlier)\b",
    re.IGNORECASE,
)
"""Words of a text that calls the program before it an aside, or corrects it."""
_DEFINITION = re.compile(r"^(?:async[ \t]+def|def|class)[ \t]+(\w+)", re.MULTILINE)
_WORD = re.compile(r"\w+")
_READS_INPUT = re.compile(r"\binput\b|\bstdin\b|\bopen\(0\b|\bread\(0\b")


@dataclass(frozen=True)
class _Part:
    """A part of a response that is valid Python."""

    text: str
    names: Names
    aside: bool
    """Whether the text before it says that it is not the solution, but slower, wrong or another one."""


def extract_program(
    answer: str, tests: tuple[str, ...] = (), entry_point: str | None = None, preamble: str = ""
) -> str | None:
    """Return the program in a response, or None if there is none.

    - The parts of a response are its fenced blocks of Python, or without a language. Where they do not define what
      the tests use, the valid Python in the text between them is tried.
    - Of several parts that define a name that the tests use, the last complete one is taken: models correct
      themselves. If the text before it calls it slower, wrong or an alternative, the one before is taken.
    - Parts that define names which these need are joined with them.
    - If nothing defines a name that the tests use, the last part with a definition is taken, else the last part. If the
      tests use no names (standard input and output), it is the last part that reads its input, if there is one.
    """
    answer = answer.lstrip("\ufeff").replace("\r\n", "\n").replace("\r", "\n")
    if _is_program(answer):
        return answer
    found = read_blocks(answer)
    blocks = [block for block in found.blocks if block.language in (Language.PYTHON, Language.PLAIN)]
    if len(blocks) == 1 and _defines(blocks[0].text, _words((entry_point or "", *tests))):
        return blocks[0].text
    wanted = names_of_tests(tests, entry_point, preamble)
    parts = [part for block in blocks if (part := _read_part(block))]
    defined = {name for part in parts for name in part.names.defined}
    if not defined & wanted.names and (named := [b for b in blocks if _defines(b.text, wanted.names)]):
        return named[-1].text  # it has a syntax error, perhaps of this Python only
    if not blocks or not defined & wanted.names:
        loose = [Block(Language.PLAIN, text) for text in find_programs(found.outside)]
        parts += [part for block in loose if (part := _read_part(block))]
        blocks = blocks or loose
    return _choose(parts, wanted) or _last(blocks, parts, wanted)


def _is_program(text: str) -> bool:
    """Return whether a response is a program as a whole; its strings may have fences."""
    tree = parse(text)
    if tree is None or not has_fence(text):
        return tree is not None and text.strip() != ""
    # Words may be names, ~~~python is an expression, and quoted text may be a string.
    is_text = [isinstance(s, ast.Expr) and isinstance(s.value, ast.Constant) for s in tree.body]
    return not all(is_text) and all(is_code(statement) for statement in tree.body)


@lru_cache(maxsize=64)
def _words(tests: tuple[str, ...]) -> frozenset[str]:
    """Return all words of the tests: enough to choose a single block, without the names that they need."""
    return frozenset(word for test in tests for word in _WORD.findall(test))


def _defines(text: str, names: frozenset[str]) -> bool:
    """Return whether a block seems to define one of the names; it need not be valid."""
    return any(name in names for name in _DEFINITION.findall(text))


def _read_part(block: Block) -> _Part | None:
    tree = parse(block.text)
    names = read_names(block.text, tree) if tree else None
    if names is None:
        return None
    return _Part(block.text, names, _ASIDE.search(block.intro) is not None and _FINAL.search(block.intro) is None)


def _choose(parts: list[_Part], wanted: Wanted) -> str | None:
    """Return the parts that define the wanted names, with those that they need; None if no part defines any."""
    chosen = {found for name in wanted.names if (found := _find_definition(parts, name, wanted)) is not None}
    return _join(parts, chosen, wanted) if chosen else None


def _find_definition(parts: list[_Part], name: str, wanted: Wanted) -> int | None:
    """Return the last complete part that defines the name, unless it is an aside."""
    found = [n for n, part in enumerate(parts) if name in part.names.defined]
    complete = [n for n in found if name not in parts[n].names.stubs]
    with_methods = [n for n in complete if wanted.attributes <= parts[n].names.attributes.get(name, wanted.attributes)]
    for some in (with_methods, complete, found):
        if some:
            return next((n for n in reversed(some) if not parts[n].aside), some[-1])
    return None


def _join(parts: list[_Part], chosen: set[int], wanted: Wanted) -> str:
    """Return the text of the chosen parts and of those that define what they need, in their order."""
    providers: dict[str, list[int]] = defaultdict(list)
    for number, part in enumerate(parts):
        for name in part.names.defined | part.names.imported:
            # A demo may use a name of Python for a variable.
            if name not in PROVIDED or name in part.names.functions | part.names.imported:
                providers[name].append(number)
    chosen = set(chosen)
    settled = {name for number in chosen for name in parts[number].names.defined | parts[number].names.imported}
    pending = sorted(chosen)
    for number in pending:
        for name in sorted(parts[number].names.needed - settled):
            if name in settled:
                continue
            settled.add(name)
            found = _find_provider(parts, number, name, providers[name], (settled, wanted.names))
            if found is not None:
                chosen.add(found)
                pending.append(found)
                settled |= parts[found].names.defined | parts[found].names.imported
    return "\n".join(parts[number].text for number in sorted(chosen))


def _find_provider(
    parts: list[_Part], number: int, name: str, providers: list[int], kept: Sequence[AbstractSet[str]]
) -> int | None:
    """Return the nearest provider of a name before a part, else the first after it that replaces no name in use."""
    if position := bisect_left(providers, number):
        return providers[position - 1]
    if name in PROVIDED:
        return None
    for provider in providers:
        if not any(other in names for other in parts[provider].names.defined - {name} for names in kept):
            return provider
    return None


def _last(blocks: list[Block], parts: list[_Part], wanted: Wanted) -> str | None:
    """Return the last block that looks like a program, with what it needs."""
    blocks = [block for block in blocks if block.language is Language.PYTHON] or blocks
    if not blocks:
        return None
    reading = [block for block in blocks if not wanted.names and _READS_INPUT.search(block.text)]
    defining = [block for block in blocks if _DEFINITION.search(block.text)]
    last = (reading or defining or blocks)[-1]
    numbers = [number for number, part in enumerate(parts) if part.text == last.text]
    return _join(parts, set(numbers[-1:]), wanted) if numbers else last.text
