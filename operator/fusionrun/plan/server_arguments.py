"""The arguments of ``vllm serve`` that a run may set, and the values that each may have.

A bare word is allowed only as the value of the argument before it: anywhere else vLLM would take it as the model.
"""

import re
from collections.abc import Iterator, Sequence

from fusionrun.api.spec.servers import ALLOWED_VLLM_ARGS

_NUMBER = r"([0-9]+(\.[0-9]*)?|\.[0-9]+)[kKmMgG]?"
_NAME = r"[A-Za-z0-9_-]+"
_VALUES: dict[str, str] = {
    "--attention-backend": r"[A-Za-z0-9_]+",
    "--block-size": _NUMBER,
    "--cpu-offload-gb": _NUMBER,
    "--gpu-memory-utilization": _NUMBER,
    "--kv-cache-dtype": _NAME,
    "--limit-mm-per-prompt": r"[A-Za-z0-9_{}\[\]\"':=,. ]+",
    # Formats that read safetensors, or nothing. The others read pickles, which run code (pt, npcache), take an address
    # (tensorizer), or come from a plug-in. Source: vLLM, vllm/model_executor/model_loader/__init__.py.
    "--load-format": "auto|safetensors|fastsafetensors|runai_streamer|sharded_state|bitsandbytes|mistral|dummy",
    "--max-num-batched-tokens": _NUMBER,
    "--max-num-seqs": _NUMBER,
    "--quantization": _NAME,
    "--safetensors-load-strategy": _NAME,
    # "custom" loads a class by name. Source: vLLM, vllm/config/model.py, TokenizerMode.
    "--tokenizer-mode": "auto|hf|slow|mistral|deepseek_v32",
}
"""Pattern of the value of each argument that has one; the others are switches."""


def bad_arguments(arguments: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Yield each argument that is not allowed, and the rule."""
    before = ""  # the argument whose value comes next
    for argument in arguments:
        if not argument.startswith("-"):
            if not before:
                yield argument, "is not allowed: it is not the value of an argument"
            elif before in _VALUES:
                yield from _check(argument, before, argument)
            before = ""
            continue
        name, equals, value = argument.partition("=")
        is_switch = name in ALLOWED_VLLM_ARGS and name not in _VALUES
        before = "" if equals or is_switch else name
        if name not in ALLOWED_VLLM_ARGS:
            yield argument, "is not allowed: docs/reference.md lists the allowed arguments"
        elif equals:
            yield from _check(argument, name, value)


def _check(argument: str, name: str, value: str) -> Iterator[tuple[str, str]]:
    pattern = _VALUES.get(name)
    if pattern is None:
        yield argument, f"is not allowed: {name} takes no value"
    elif not re.fullmatch(pattern, value):
        yield argument, f"is not allowed as the value of {name}: it must match {pattern}"
