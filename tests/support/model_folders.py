"""A minimal model folder: valid files without a usable model."""

import json
import struct
from pathlib import Path


def make_model(folder: Path, *, data: bytes = b"12345678", template: bool = True) -> Path:
    """Write config, weights, tokenizer and an optional chat template to a new folder."""
    folder.mkdir(parents=True)
    header = json.dumps({"w": {"dtype": "F32", "shape": [len(data) // 4], "data_offsets": [0, len(data)]}}).encode()
    (folder / "model.safetensors").write_bytes(struct.pack("<Q", len(header)) + header + data)
    (folder / "config.json").write_text('{"model_type": "llama"}')
    (folder / "tokenizer.json").write_text("{}")
    if template:
        (folder / "chat_template.jinja").write_text("x")
    return folder
