"""Where the tests find the program's names: their global names, and the module ``solution``."""

from collections.abc import Iterable
from types import ModuleType
from typing import Any

from fusionrun_stages.sandbox.calls import MODULE
from fusionrun_stages.sandbox.names import is_provided
from fusionrun_stages.sandbox.proxies import RemoteProgram


class RemoteModule(ModuleType):
    """The program as the module ``solution``, for tests that import it."""

    def __init__(self, program: RemoteProgram, names: dict[str, Any]) -> None:
        super().__init__("solution")
        visible = [name for name in names if not is_provided(name)]  # ``import *`` shadows nothing of Python
        vars(self).update(__all__=visible, __path__=[], _program=program, _names=names)

    def __getattr__(self, name: str) -> Any:
        if name not in self._names:
            raise AttributeError(f"module 'solution' has no attribute {name!r}", name=name)
        value = self._names[name]
        return self._program.variable(name) if value is None else value

    def __setattr__(self, name: str, value: Any) -> None:
        if name.startswith("__"):  # the import system sets some
            super().__setattr__(name, value)
        else:
            self._program.special = True
            self._program.request("set", MODULE, name, value)
            self._names[name] = None  # read it from the program from now on


class Namespace(dict[str, Any]):
    """The tests' namespace, in which the program's names are looked up last."""

    def __init__(self, program: RemoteProgram) -> None:
        super().__init__()
        self.program = program
        self._names: dict[str, Any] = {}
        self.used: set[str] = set()
        """Names of the program that the tests have read."""

    def add(self, names: dict[str, Any], allowed: Iterable[str]) -> None:
        """Add those names of the program that the tests may read."""
        self._names = {name: names[name] for name in allowed if name in names}

    def __missing__(self, name: str) -> Any:
        """Return a name of the program."""
        value = self._names[name]  # a KeyError becomes a NameError
        self.used.add(name)
        return self.program.variable(name) if value is None else value
