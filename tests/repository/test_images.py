"""The lock file of an image contains the packages that its stages import.

The images of the local cluster share one environment, so no other test finds a package that a lock file lacks.
"""

import ast
import functools
import re
import sys
from pathlib import Path

import pytest

from fusionrun.api.stage import StageKind
from fusionrun.plan.kinds import kind_traits
from fusionrun.settings import Images

IMAGES = Path(__file__).parents[2] / "images"
NAMES = Images(data="data", serve="serve", train="train", reward="reward", sandbox="sandbox")
STAGES = [kind for kind in StageKind if kind is not StageKind.SERVE]
DISTRIBUTIONS = {"yaml": "pyyaml"}


@functools.cache
def imports(path: Path, *, in_functions: bool) -> set[str]:
    """Return the modules that a file imports at module level, or in functions."""
    tree = ast.parse(path.read_text())
    functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    inside = {node for function in functions for node in ast.walk(function)}
    names: set[str] = set()
    for node in ast.walk(tree):
        if (node in inside) != in_functions:
            continue
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return names


def file_of(module: str) -> Path | None:
    path = IMAGES.joinpath(*module.split("."))
    return next((p for p in (path.with_suffix(".py"), path / "__init__.py") if p.is_file()), None)


def packages(module: str, *, functions: bool, without: str = "") -> set[str]:
    """Return the packages that a module of the wheel imports, also through other modules of the wheel.

    ``functions`` includes imports in functions. The module ``without`` is skipped.
    """
    names: set[str] = set()
    seen = {f"fusionrun_stages.{without}"}
    waiting = {f"fusionrun_stages.{module}", "fusionrun_stages.__main__"}
    while waiting:
        name = waiting.pop()
        path = file_of(name)
        if name in seen or path is None:
            continue
        seen.add(name)
        found = imports(path, in_functions=False)
        if functions:
            found = found | imports(path, in_functions=True)
        names |= found
        waiting |= {other for other in found if other.startswith("fusionrun_stages.")}
    tops = {name.split(".")[0] for name in names} - sys.stdlib_module_names - {"fusionrun", "fusionrun_stages"}
    return {DISTRIBUTIONS.get(top, top.replace("_", "-")) for top in tops}


def pinned(image: str) -> set[str]:
    return set(re.findall(r"^([a-z0-9-]+)==", (IMAGES / f"{image}.lock").read_text(), re.MULTILINE))


@pytest.mark.parametrize("kind", STAGES)
def test_the_lock_of_an_image_has_the_packages_of_its_stages(kind):
    image = kind_traits(kind).image(NAMES)
    # ``score`` calls an endpoint only in the data image; ``pod.gpus`` imports torch only in a pod with GPUs.
    without = "reward.endpoint" if kind is StageKind.SCORE else "pod.gpus" if image in ("data", "sandbox") else ""
    needed = packages(kind.value, functions=True, without=without)
    assert needed & {"pyarrow", "torch"}
    assert needed - pinned(image) == set()


def test_score_with_an_endpoint_starts_in_the_data_image():
    needed = packages("score", functions=False) | packages("reward.endpoint", functions=False)
    assert "httpx" in needed
    assert needed - pinned("data") == set()
