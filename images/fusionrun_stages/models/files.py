"""Check and fingerprint of a model folder, from the headers, starts and ends of the weight files."""

import hashlib
import json
import struct
from pathlib import Path
from typing import Any

from fusionrun_stages.errors import UserError
from fusionrun_stages.models.weights import INDEX, weights_in
from fusionrun_stages.volume.paths import inside_volume

TOKENIZER_FILES = ("tokenizer.json", "tokenizer.model", "vocab.json", "vocab.txt", "spiece.model", "tekken.json")
TEMPLATE_FILES = ("chat_template.jinja", "chat_template.json", "tokenizer_config.json")
NO_TEMPLATE = "its tokenizer has no chat template (chat_template.jinja)"
EDGE_BYTES = 2**20
"""Bytes at the start and end of a file in its fingerprint: to hash 140 GB of weights would take minutes."""
HEADER_MAX_BYTES = 100_000_000
"""Source: safetensors' MAX_HEADER_SIZE (safetensors/src/tensor.rs)."""


def check_model(folder: Path, field: str, *, chat: bool = False) -> None:
    """Check that a folder has a complete model: config.json, safetensors weights and a tokenizer.

    ``field`` is the field of the spec for errors; ``chat`` requires a chat template, too.
    """
    if not inside_volume(folder).is_dir():
        raise UserError(f"{field}: {str(folder)!r}: no such directory on the claim")
    config = _json(folder / "config.json", field)
    if "model_type" not in config and "architectures" not in config:
        raise UserError(f"{field}: {folder / 'config.json'}: names neither model_type nor architectures")
    weights = weight_files(folder, field)
    for path in weights:
        check_safetensors(path, field)
    if not any((folder / name).is_file() for name in TOKENIZER_FILES):
        raise UserError(f"{field}: {str(folder)!r}: no tokenizer: one of {', '.join(TOKENIZER_FILES)}")
    if chat and not has_chat_template(folder, field):
        raise UserError(f"{field}: {str(folder)!r}: {NO_TEMPLATE}")


def has_chat_template(folder: Path, field: str) -> bool:
    """Return whether the tokenizer has a chat template."""
    *templates, config = (folder / name for name in TEMPLATE_FILES)
    if any(path.is_file() for path in templates):
        return True
    return config.is_file() and bool(_json(config, field).get("chat_template"))


def weight_files(folder: Path, field: str) -> list[Path]:
    """Return the safetensors files that are loaded; raise UserError if one is missing."""
    index = folder / INDEX
    if index.is_file():
        names = sorted(set(_json(index, field).get("weight_map", {}).values()))
        missing = [name for name in names if not (folder / name).is_file()]
        if missing:
            raise UserError(f"{field}: {folder / missing[0]}: missing, but listed in {index.name}")
        return [folder / name for name in names]
    files = weights_in(folder)
    if not files:
        raise UserError(f"{field}: {str(folder)!r}: no *.safetensors file (other weight formats are not supported)")
    return files


def check_safetensors(path: Path, field: str) -> None:
    """Check that the header of a weights file is readable and matches the size of the file.

    Source: github.com/huggingface/safetensors, README, "Format": 8 bytes of little-endian header length, the
    header as JSON with ``data_offsets`` relative to the end of the header, then the data.
    """
    size = inside_volume(path).stat().st_size
    with path.open("rb") as file:
        prefix = file.read(8)
        length = struct.unpack("<Q", prefix)[0] if len(prefix) == 8 else 0  # noqa: PLR2004
        if not 0 < length <= min(HEADER_MAX_BYTES, size):
            raise UserError(f"{field}: {path}: corrupt: no safetensors header in {size} bytes")
        try:
            header = json.loads(file.read(length))
            end = max((t["data_offsets"][1] for n, t in header.items() if n != "__metadata__"), default=0)
        except (ValueError, TypeError, KeyError, IndexError, AttributeError, RecursionError) as error:
            raise UserError(f"{field}: {path}: corrupt: its safetensors header cannot be read") from error
    if 8 + length + end != size:
        problem = "truncated" if size < 8 + length + end else "corrupt"
        raise UserError(f"{field}: {path}: {problem}: {size} bytes, expected {8 + length + end} from its header")


def fingerprint_model(folder: Path) -> str:
    """Return a hash of the name, size, first and last MiB of every file, sorted by name."""
    digest = hashlib.sha256()
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        name = path.relative_to(folder)
        if any(part.startswith(".") for part in name.parts):
            continue
        size = inside_volume(path).stat().st_size
        digest.update(f"{name}\0{size}\0".encode())
        with path.open("rb") as file:
            digest.update(file.read(EDGE_BYTES))
            file.seek(max(0, size - EDGE_BYTES))
            digest.update(file.read(EDGE_BYTES))
    return digest.hexdigest()


def _json(path: Path, field: str) -> dict[str, Any]:
    try:
        value = json.loads(inside_volume(path).read_bytes())
    except FileNotFoundError as error:
        raise UserError(f"{field}: {path}: missing") from error
    except (ValueError, RecursionError) as error:
        raise UserError(f"{field}: {path}: corrupt: not JSON: {error}") from error
    if not isinstance(value, dict):
        raise UserError(f"{field}: {path}: corrupt: not a JSON object")
    return value
