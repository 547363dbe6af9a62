"""No text uses a term of the project's former dialect. Each has a standard term in the Kubernetes documentation."""

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FOLDERS = ("operator", "images", "hack", "helm", "docs", "manifests", "tests", "README.md", "Makefile")
UNCHECKED = ("tests/releases", "tests/repository/test_language.py")
"""The records of releases, which never change, and this list."""
DIALECT = {
    r"asked of (nobody|anybody)": "not sent",
    r"(his|its|their) last words|\blast words\b": "termination message",
    r"\bof ours\b": "of FusionRun",
    r"\bpok(e|es|ed|ing)\b": "trigger",
    r"\btold\b": "reported, set, given",
    r"\brim\b": "adapters",
    r"\bwedged?\b": "stalled, hung",
    r"\bsmall world\b": "tiny run",
    r"\bpure rooms?\b|\brooms\b": "packages",
}


def texts() -> dict[str, str]:
    command = ["git", "-C", str(ROOT), "ls-files", "--", *FOLDERS]
    names = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    binary = (".png", ".gz", ".whl", ".zip", ".lock", ".sum")
    return {n: (ROOT / n).read_text() for n in names if not n.startswith(UNCHECKED) and not n.endswith(binary)}


@pytest.mark.parametrize("term", DIALECT)
def test_no_text_uses_the_dialect(term):
    found = [
        f"{name}:{number}: {line.strip()}"
        for name, text in texts().items()
        for number, line in enumerate(text.splitlines(), 1)
        if re.search(term, line, re.IGNORECASE)
    ]
    assert found == [], f"use: {DIALECT[term]}"
