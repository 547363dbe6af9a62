"""The containers that both processes know in a call: which ones are the same, and which ones have changed.

An instance of a class of the preamble is a container of its attributes.
"""

import operator
from collections import deque
from inspect import getattr_static
from typing import Any

from fusionrun_stages.sandbox.wire import FrameError


class Shared:
    """The containers of a call and its reply that can be changed, by number."""

    def __init__(self) -> None:
        self.items: list[Any] = []
        self.appearances: list[int] = []
        """How often each one was encoded."""
        self._numbers: dict[int, int] = {}

    def add(self, container: Any) -> None:
        """Give a container the next number."""
        self._numbers[id(container)] = len(self.items)
        self.items.append(container)  # which also keeps the identity valid
        self.appearances.append(0)

    def number(self, container: Any) -> int | None:
        """Return the number of a container that has one, and count the appearance."""
        number = self._numbers.get(id(container))
        if number is not None:
            self.appearances[number] += 1
        return number

    def get(self, number: Any) -> Any:
        """Return the container with this number."""
        if type(number) is not int or not 0 <= number < len(self.items):
            raise FrameError(f"no container {number!r}")
        return self.items[number]


def attributes(instance: Any) -> dict[str, Any]:
    """Return the attributes of an instance that it has itself: not those of its class."""
    return getattr(instance, "__dict__", {})


def replace_attributes(instance: Any, new: dict[Any, Any]) -> None:
    """Give an instance these attributes and no others; raise ValueError for a name that it must not have.

    An attribute in the place of a method would let the tests call the program's code instead of the preamble's.
    """
    if not all(isinstance(name, str) and name.isidentifier() and name[:2] != "__" for name in new):
        raise ValueError("an attribute that is no name")
    if any(_is_method(getattr_static(type(instance), name, None)) for name in new):
        raise ValueError("an attribute in the place of a method")
    for name in attributes(instance).keys() - new.keys():
        delattr(instance, name)
    for name, value in new.items():
        setattr(instance, name, value)


def _is_method(found: Any) -> bool:
    return callable(found) or isinstance(found, property | classmethod)


def snapshot(container: Any) -> Any:
    """Return what ``is_same`` compares later."""
    container = _items(container)
    return list(container.items()) if isinstance(container, dict) else list(container)


def is_same(before: Any, container: Any) -> bool:
    """Return whether a container has the same items as at its snapshot, by identity."""
    now, container = snapshot(container), _items(container)
    if len(before) != len(now):
        return False
    if isinstance(container, dict):
        return all(a is c and b is d for (a, b), (c, d) in zip(before, now, strict=True))
    if isinstance(container, set):
        return {id(item) for item in before} == {id(item) for item in now}
    return all(map(operator.is_, before, now))


def _items(container: Any) -> Any:
    return container if isinstance(container, dict | list | set | deque | bytearray) else attributes(container)
