"""Print a sample with the changes of an overlay: overlay.py SAMPLE OVERLAY (both YAML).

The rules are those of a JSON merge patch (RFC 7386): a value replaces, null removes. But lists of named items are
merged by ``name``, as in a strategic merge patch: an overlay would otherwise repeat every item.
"""

import sys
from pathlib import Path
from typing import Any

import yaml


def merge(value: Any, change: Any) -> Any:
    """Return a value with a change; raise KeyError if a list has no item of a name in the change."""
    if isinstance(change, dict):
        old = value if isinstance(value, dict) else {}
        changed = {key: merge(old.get(key), new) for key, new in change.items() if new is not None}
        return {key: new for key, new in (old | changed).items() if key in changed or key not in change}
    if not (_are_named(value) and _are_named(change)):
        return change
    changes = {item["name"]: item for item in change}
    unknown = changes.keys() - {item["name"] for item in value}
    if unknown:
        raise KeyError(f"the sample has no item named {', '.join(sorted(unknown))}")
    return [merge(item, changes.get(item["name"], {})) for item in value]


def _are_named(items: Any) -> bool:
    return isinstance(items, list) and all(isinstance(item, dict) and "name" in item for item in items)


def main() -> None:
    sample, overlay = (yaml.safe_load(Path(path).read_text()) for path in sys.argv[1:])
    print(yaml.safe_dump(merge(sample, overlay), sort_keys=False, width=120), end="")


if __name__ == "__main__":
    main()
