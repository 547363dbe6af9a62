"""Tests that stand at the end of a prompt, as in self-oss-instruct-sc2-exec-filter-50k.

The set's authors append a sentence and one block of Python to instructions whose tests are short. Source:
bigcode-project/starcoder2-self-align, ``src/star_align/sanitize_data.py``: "Your code should pass the following
assertion:", with "assertions" for several, and "test case" for a block with other statements.
"""

import ast
import re
import warnings

SENTENCE = re.compile(r"^Your code should pass the following (?:assertions?|test cases?):[ \t]*\n", re.MULTILINE)
_BLOCK = re.compile(r"```python[ \t]*\n(.*?)\n[ \t]*```\s*", re.DOTALL)
TESTS_MAX_CHARACTERS = 65_536
"""Longer tests are not parsed. The set's have at most 5 lines."""


def find_tests(prompt: str) -> list[str] | None:
    """Return the tests at the end of a prompt; None if there are none.

    The sentence must stand in the prompt once, on its own line. One block of Python must follow it and end the prompt.
    It must be valid Python with an ``assert`` statement: other text in such a place would judge no program.
    """
    text = prompt.replace("\r\n", "\n").replace("\r", "\n")
    sentences = list(SENTENCE.finditer(text))
    if len(sentences) != 1:
        return None
    block = _BLOCK.fullmatch(text, sentences[0].end())
    if block is None or "```" in block[1] or not _asserts(block[1]):
        return None
    return [block[1]]


def _asserts(tests: str) -> bool:
    if len(tests) > TESTS_MAX_CHARACTERS:
        return False
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tree = ast.parse(tests)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    return any(isinstance(node, ast.Assert) for node in ast.walk(tree))
