"""Reads long responses that could take quadratic time, within a limit of CPU time; prints the name of each.

python read_long.py CHARACTERS CPU_SECONDS
"""

import resource
import sys
import time

from fusionrun_stages.grading import coding

PIECES = {
    "one fence and a long line": ("```", "x"),
    "long labels": ("", "```x"),
    "backticks": ("", "`"),
    "backticks before a letter": ("", "`" * 1000 + "x"),
    "backticks and spaces": ("", "``` "),
    "tildes": ("", "~"),
    "opening fences": ("", "```python\n"),
    "fences of growing length": ("", "\n".join("`" * n for n in range(3, 100)) + "\n"),
    "spaces": ("", " "),
    "blank lines": ("", "\n"),
    "fences and blank lines": ("", "```\n\n"),
    "quotes": ("```\n", "'"),
    "triple quotes in a block": ("```python\n", '"""\n```\n'),
    "triple quotes without end": ("", '```python\n"""\n```\n'),
    "backslashes": ("```python\n", "\\"),
    "backslashes in a string": ('```python\n"', "\\"),
    "brackets": ("", "(" * 100 + "\n"),
    "small blocks": ("", "```python\na = b\n```\n"),
    "blocks that need each other": ("```python\ndef f(): return a0\n```\n", None),
    "one definition in each block": ("", "```python\ndef f(): return 1\n```\n"),
    "wrappers": ("", "```markdown\n"),
    "nested blocks": ("", "`````\n````\n```python\nf = (\n```\n````\n`````\n"),
    "drafts": ("", "<think>\n"),
    "ends of drafts": ("", "</think>\n"),
    "lists": ("", "- " * 50 + "```\n"),
    "quotations": ("", "> ```\n"),
    "headings": ("", "# x\n"),
    "headings and blocks": ("", "# x\n```\nx = 1\n```\n"),
    "decorators": ("", "@x\n"),
    "prose with code": ("", "x = 1\nwords and words\n"),
    "prose with open strings": ("", 'it\'s """\n'),
    "unterminated text": ("", "def f(:\n    x\n"),
    "carriage returns": ("", "\r\n"),
}


def make(name: str, characters: int) -> str:
    start, piece = PIECES[name]
    if piece is None:
        blocks = (f"```python\ndef a{n}(): return a{n + 1}\n```\n" for n in range(characters // 45))
        return start + "".join(blocks)
    return start + piece * (characters // len(piece))


if __name__ == "__main__":
    size, seconds = int(sys.argv[1]), int(sys.argv[2])
    for name in PIECES:
        used = int(time.process_time()) + 1 + seconds
        resource.setrlimit(resource.RLIMIT_CPU, (used, resource.RLIM_INFINITY))
        began = time.process_time()
        coding.extract_program(make(name, size), ("assert f() == 1",), "f")
        print(f"{name}: {time.process_time() - began:.2f} s", flush=True)  # noqa: T201 (the last line names the text that took too long)
