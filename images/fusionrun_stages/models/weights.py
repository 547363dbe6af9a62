"""Which files of a repository are fetched: one format of the weights, and what loads them.

Some repositories have the weights twice: Mistral-Large-Instruct-2407 has ``consolidated-*.safetensors`` for
mistral-inference beside the shards for transformers, 245 GB each, and vLLM prefers the first if they and
``params.json`` are there. Llama 3.1 has its own format in ``original/``.
"""

import json
from collections.abc import Iterable
from fnmatch import fnmatch
from pathlib import Path

from fusionrun_stages.errors import UserError

INDEX = "model.safetensors.index.json"
"""Lists the shards of the weights. Source: transformers, ``SAFE_WEIGHTS_INDEX_NAME``."""
SINGLE = "model.safetensors"
"""Source: transformers, ``SAFE_WEIGHTS_NAME``."""
OTHER_FORMATS = ("consolidated*", "params.json")
"""Weights and configuration of mistral-inference. Source: vLLM, ``model_loader/default_loader.py``."""
SUFFIX = ".safetensors"
PATTERNS = ("*.json", "*.jinja", "*.txt", "*.model", "*.py", "*.md", "LICENSE*", "NOTICE*")
"""Configuration, tokenizer, custom code and the model's card; no pickles."""
NAMED = 3
"""Missing files that an error names."""
NAME_CHARACTERS = 100
"""Longest name of a missing file in an error: an index may have any text."""


def listed(index: bytes, where: str) -> frozenset[str]:
    """Return the weights files that an index names; raise UserError if it is not an index."""
    try:
        return frozenset(map(str, json.loads(index)["weight_map"].values()))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise UserError(f"{where}: {INDEX}: has no weight_map: the model cannot be loaded") from error


def check_listed(names: Iterable[str], shards: frozenset[str] | None, where: str) -> None:
    """Raise UserError if an index names files that the repository does not have.

    Parameters
    ----------
    names
        Paths of all files of the repository.
    shards
        The files that its index names; None without an index.
    where
        The field and the repository, for the error.
    """
    missing = sorted((shards or frozenset()) - frozenset(names))
    if missing:
        first = ", ".join(repr(name[:NAME_CHARACTERS]) for name in missing[:NAMED])
        more = f" and {len(missing) - NAMED} more" if len(missing) > NAMED else ""
        raise UserError(f"{where}: lacks {len(missing)} of {len(shards or ())} files of its {INDEX}: {first}{more}")


def weights_of(names: Iterable[str], shards: frozenset[str] | None) -> list[str]:
    """Return the weights files to fetch.

    Parameters
    ----------
    names
        Paths of all files of the repository.
    shards
        The files that its index names; None without an index.

    Returns
    -------
    list of str
        The files of the index; else ``model.safetensors``; else every safetensors file at the root, without those of
        another format unless there are no others.
    """
    found = sorted(name for name in names if name.endswith(SUFFIX))
    if shards:
        return [name for name in found if name in shards]
    if SINGLE in found:
        return [SINGLE]
    root = [name for name in found if "/" not in name]
    return [name for name in root if not _is_other_format(name)] or root


def weights_in(folder: Path) -> list[Path]:
    """Return the weights files in a folder; those that are not downloaded yet are left out."""
    index = folder / INDEX
    shards = listed(index.read_bytes(), str(folder)) if index.is_file() else None
    names = (str(path.relative_to(folder)) for path in folder.rglob(f"*{SUFFIX}") if path.is_file())
    return [folder / name for name in weights_of(names, shards)]


def files_of(names: Iterable[str], shards: frozenset[str] | None) -> list[str]:
    """Return the files to fetch: the weights, and the small files that their format needs."""
    every = sorted(names)
    weights = weights_of(every, shards)
    other = any(map(_is_other_format, weights))
    small = [
        name
        for name in every
        if any(fnmatch(name, pattern) for pattern in PATTERNS)
        and not name.startswith("original/")
        and (other or not _is_other_format(name))
    ]
    return [*weights, *small]


def _is_other_format(name: str) -> bool:
    return any(fnmatch(name, pattern) for pattern in OTHER_FORMATS)
