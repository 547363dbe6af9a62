"""Give a tokenizer a chat template of this project, and check that it has the tokens of the template."""

import hashlib
import json
import re
from pathlib import Path
from typing import Any, NamedTuple

from fusionrun.api.stage import TemplateName
from fusionrun.api.tasks.chat_templates import TEMPLATES
from fusionrun_stages.errors import UserError
from fusionrun_stages.volume.paths import inside_volume

TEMPLATE_FILE = "chat_template.jinja"
"""File of a saved tokenizer with its chat template. Source: transformers 5, ``CHAT_TEMPLATE_FILE``."""
TOKEN_FILES = ("tokenizer.json", "tokenizer_config.json")
"""Files of a tokenizer that name its special tokens."""
_CONTROL = re.compile(r"<\|\w+\|>")


def use_template(tokenizer: Any, name: TemplateName, field: str) -> None:
    """Replace the chat template of a tokenizer; raise UserError if the tokenizer lacks a token of it."""
    _check(set(tokenizer.get_vocab()), name, field)
    tokenizer.chat_template = TEMPLATES[name]


def check_tokens_of(folder: Path, name: TemplateName, field: str) -> None:
    """Raise UserError if the files of a tokenizer lack a token of a template.

    Without a file that lists special tokens nothing is known, and ``sft`` checks the tokenizer itself.
    """
    known: set[str] = set()
    for path in (folder / name for name in TOKEN_FILES):
        if path.is_file():
            known |= _special_tokens(json.loads(inside_volume(path).read_bytes()))
    if known:
        _check(known, name, field)


class SavedTemplate(NamedTuple):
    """The chat template of a saved model."""

    name: TemplateName | None
    """None if it is none of this project."""
    sha256: str
    """Hash of the bytes of ``chat_template.jinja``."""


def saved_template(folder: Path) -> SavedTemplate | None:
    """Return the chat template of a saved model; None if it has no file for it."""
    path = folder / TEMPLATE_FILE
    if not path.is_file():
        return None
    content = inside_volume(path).read_bytes()
    name = next((n for n in TemplateName if TEMPLATES[n].encode().strip() == content.strip()), None)
    return SavedTemplate(name, hashlib.sha256(content).hexdigest())


def _special_tokens(content: Any) -> set[str]:
    """Return the added tokens in ``tokenizer.json`` (a list) or ``tokenizer_config.json`` (a mapping by id)."""
    if not isinstance(content, dict):
        return set()
    decoder = content.get("added_tokens_decoder")
    entries = [*(content.get("added_tokens") or []), *(decoder.values() if isinstance(decoder, dict) else [])]
    return {entry["content"] for entry in entries if isinstance(entry, dict) and "content" in entry}


def _check(known: set[str], name: TemplateName, field: str) -> None:
    missing = sorted(set(_CONTROL.findall(TEMPLATES[name])) - known)
    if missing:
        owner = "evaluateOnly.models[].chatTemplate" if field.startswith("evaluateOnly") else "target.chatTemplate"
        raise UserError(
            f"{owner}: Recipe: {field}: the tokenizer has no token {', '.join(missing)}, which the recipe's template "
            f"{name} writes: set {owner} to Own"
        )
