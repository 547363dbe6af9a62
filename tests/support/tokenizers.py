"""Small tokenizers with the special tokens, the marks and the structure of the templates of known families."""

import json
from functools import cache
from pathlib import Path

import transformers
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers

FAMILIES = json.loads(Path(__file__).with_suffix(".json").read_text())


@cache
def tokenizer_of(name):
    """Return a small tokenizer: of bytes, or of characters with a sign for spaces and bytes for the rest."""
    family = FAMILIES[name]
    names = [*family["special"], *family.get("added", [])]
    if family["kind"] == "bytes":
        letters = sorted(pre_tokenizers.ByteLevel.alphabet())
        model = Tokenizer(models.BPE(vocab={text: i for i, text in enumerate(names + letters)}, merges=[]))
        model.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        model.decoder = decoders.ByteLevel()
    else:
        letters = [f"<0x{byte:02X}>" for byte in range(256)] + ["\u2581", *map(chr, range(33, 127))]
        vocabulary = {text: i for i, text in enumerate(names + letters)}
        model = Tokenizer(models.BPE(vocab=vocabulary, merges=[], byte_fallback=True, unk_token=family["unk"]))
        model.normalizer = normalizers.Replace(" ", "\u2581")
        model.decoder = decoders.Sequence([decoders.Replace("\u2581", " "), decoders.ByteFallback(), decoders.Fuse()])
    if "normalizer" in family:
        model.normalizer = getattr(normalizers, family["normalizer"])()
    strip = {"rstrip": family.get("rstrip", False)}
    model.add_special_tokens([AddedToken(text, normalized=False, special=True, **strip) for text in family["special"]])
    model.add_tokens([AddedToken(text, normalized=False) for text in family.get("added", [])])
    tokens = {f"{role}_token": family[role] for role in ("bos", "eos", "pad", "unk") if family.get(role)}
    tokenizer = transformers.PreTrainedTokenizerFast(tokenizer_object=model, **tokens)
    tokenizer.chat_template = family["template"]
    return tokenizer
