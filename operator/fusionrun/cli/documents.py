"""Objects in YAML files, with the line of each field."""

import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

STDIN = "-"
_KEYS = ("name", "kind", "mountPath")
"""Fields by which messages name an item of a list."""
_STEP = re.compile(r"\[[^\]]*\]|[^.\[\]]+")


class _Loader(yaml.SafeLoader):
    """PyYAML's safe loader, with the scalars that kubectl reads: ``1e-5`` is a number, dates and ``12:30`` are strings.

    Source: sigs.k8s.io/yaml, goyaml.v2/resolve.go.
    """


_REPLACED = ("timestamp", "int", "float")
_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in found if tag.rpartition(":")[2] not in _REPLACED]
    for first, found in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
for _name, _pattern, _first in (
    ("int", r"^[-+]?(0b[01_]+|0[0-7_]+|0x[0-9a-fA-F_]+|0|[1-9][0-9_]*)$", "-+0123456789"),
    (
        "float",
        r"^([-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN))$",
        "-+0123456789.",
    ),
):
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_name}", re.compile(_pattern), list(_first))


class UnreadableError(Exception):
    """A file that cannot be read, or that is not YAML."""


@dataclass(frozen=True)
class Document:
    """One object of a file."""

    file: str
    value: Any
    node: yaml.Node
    repeated: tuple[tuple[int, str], ...] = ()
    """Keys that a mapping has twice, with their lines. YAML forbids them; PyYAML takes the last."""

    @property
    def kind(self) -> str:
        """Its ``kind``; empty if it has none."""
        return str(self.value.get("kind", "")) if isinstance(self.value, dict) else ""

    @property
    def api_version(self) -> str:
        """Its ``apiVersion``; empty if it has none."""
        return str(self.value.get("apiVersion", "")) if isinstance(self.value, dict) else ""

    @property
    def name(self) -> str:
        """Its name; empty if it has none."""
        metadata = self.value.get("metadata") if isinstance(self.value, dict) else None
        return str(metadata.get("name") or "") if isinstance(metadata, dict) else ""

    def line(self, field: str = "") -> int:
        """Return the line of a field, such as ``spec.sources[ada].served``, or of the nearest one that contains it."""
        node, line = self.node, self.node.start_mark.line
        for step in _STEP.findall(field):
            found = _child(node, step.strip("[]"))
            if found is None:
                break
            line, node = found
        return line + 1


def read(file: str) -> list[Document]:
    """Return the objects of a file, or of the standard input; the items of a List are objects of their own.

    Raises
    ------
    UnreadableError
        If the file cannot be read, or is not YAML.
    """
    try:
        text = sys.stdin.read() if file == STDIN else Path(file).read_text()
        loader = _Loader(text)
        documents: list[Document] = []
        while (node := _next(loader)) is not None:
            repeated = {id(each): tuple(sorted(_repeated(each))) for each in [node, *_items(node)]}
            # This also puts the fields of a merge key (``<<``) into the nodes.
            documents += _objects(file, node, loader.construct_document(node), repeated)
    except (OSError, UnicodeDecodeError) as error:
        raise UnreadableError(f"{file}: cannot be read: {error}") from error
    except yaml.YAMLError as error:
        raise UnreadableError(f"{file}: is not YAML: {error}") from error
    return documents


def _next(loader: _Loader) -> yaml.Node | None:
    return loader.get_node() if loader.check_node() else None


def _objects(
    file: str, node: yaml.Node, value: Any, repeated: dict[int, tuple[tuple[int, str], ...]]
) -> Iterator[Document]:
    document = Document(file, value, node, repeated[id(node)])
    if document.kind.endswith("List") and (items := _items(node)):
        for item, each in zip(items, value["items"], strict=True):
            yield Document(file, each, item, repeated[id(item)])
    elif value is not None:  # an empty document
        yield document


def _items(node: yaml.Node) -> list[yaml.Node]:
    found = _child(node, "items")
    return list(found[1].value) if found and isinstance(found[1], yaml.SequenceNode) else []


def _child(node: yaml.Node, step: str) -> tuple[int, yaml.Node] | None:
    """Return the line and the node of a key of a mapping, or of an item of a list by its index or its key."""
    if isinstance(node, yaml.MappingNode):
        for key, value in reversed(node.value):
            if key.value == step:
                return key.start_mark.line, value
    if isinstance(node, yaml.SequenceNode):
        for index, item in enumerate(node.value):
            if step == str(index) or step in _names(item):
                return item.start_mark.line, item
    return None


def _names(node: yaml.Node) -> list[str]:
    if not isinstance(node, yaml.MappingNode):
        return [str(node.value)]
    return [str(value.value) for key, value in node.value if key.value in _KEYS]


def _repeated(node: yaml.Node) -> Iterator[tuple[int, str]]:
    if isinstance(node, yaml.MappingNode):
        seen = set()
        for key, value in node.value:
            if key.value in seen and key.tag != "tag:yaml.org,2002:merge":
                yield key.start_mark.line + 1, str(key.value)
            seen.add(str(key.value))
            yield from _repeated(value)
    elif isinstance(node, yaml.SequenceNode):
        for item in node.value:
            yield from _repeated(item)
