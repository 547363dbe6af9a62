"""Test cases of LiveCodeBench, which LiveBench has too: public ones as JSON, private ones often packed.

Packed cases are the text of a JSON list, pickled, compressed with zlib and encoded in base64. Source: LiveCodeBench,
lcb_runner/benchmarks/code_generation.py. The data comes from a network, and a pickle can run any code: the unpickler
here makes a text and nothing else.
"""

import base64
import binascii
import io
import json
import pickle
import zlib
from typing import Any, NoReturn

from fusionrun_stages.prompts.bad_rows import BadRowError, has_too_many_values, too_many_values

UNPACKED_MAX_BYTES = 128 * 2**20
"""Largest test cases of a problem. The official ones are at most some tens of MiB."""
TYPES = ("stdin", "functional")


class TextUnpickler(pickle.Unpickler):
    """Reads a pickled text; refuses every class and function."""

    def find_class(self, module_name: str, global_name: str, /) -> NoReturn:
        """Refuse a global name, without which a pickle cannot call anything."""
        raise pickle.UnpicklingError(f"{module_name}.{global_name}"[:80])

    def persistent_load(self, pid: Any, /) -> NoReturn:
        """Refuse a reference to an object outside of the pickle."""
        raise pickle.UnpicklingError(f"a reference to {pid!r}"[:80])


def read_cases(value: Any) -> list[dict[str, str]]:
    """Return the test cases of a column: a list, its JSON text, or packed. Raise BadRowError if they are neither."""
    if isinstance(value, str) and not value.lstrip().startswith("["):
        value = unpack(value)
    if isinstance(value, str):
        if has_too_many_values(value):
            raise too_many_values()
        try:
            value = json.loads(value)
        except (ValueError, RecursionError) as error:
            raise BadRowError("test cases that are not JSON") from error
    if not isinstance(value, list):
        raise BadRowError("no list of test cases")
    return [_case(item) for item in value]


def unpack(text: str) -> str:
    """Return the text of packed test cases."""
    try:
        packed = base64.b64decode(text, validate=True)
        decompressor = zlib.decompressobj()
        content = decompressor.decompress(packed, UNPACKED_MAX_BYTES)
    except (binascii.Error, ValueError, zlib.error) as error:
        raise BadRowError("test cases that are neither JSON nor compressed with zlib in base64") from error
    if decompressor.unconsumed_tail:
        raise BadRowError(f"test cases longer than {UNPACKED_MAX_BYTES // 2**20} MiB")
    if not decompressor.eof:
        raise BadRowError("test cases whose compressed data is cut off")
    try:
        unpickled = TextUnpickler(io.BytesIO(content)).load()
    except Exception as error:  # a damaged pickle raises almost any exception
        raise BadRowError("test cases whose pickle is not a text") from error
    if not isinstance(unpickled, str):
        raise BadRowError("test cases whose pickle is not a text")
    return unpickled


def _case(item: Any) -> dict[str, str]:
    if not isinstance(item, dict) or item.get("testtype") not in TYPES:
        raise BadRowError(f"a test case without a testtype of {' or '.join(TYPES)}")
    case = {name: item.get(name) for name in ("input", "output", "testtype")}
    if not all(isinstance(value, str) for value in case.values()):
        raise BadRowError("a test case whose input or output is not a text")
    return case  # type: ignore[return-value]  # the line above checks the values
