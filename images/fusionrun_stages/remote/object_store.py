"""Data sets in an object store (``s3://bucket/key``). Credentials come from the AWS_* variables."""

import hashlib
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from fusionrun_stages.errors import InfrastructureError, UserError
from fusionrun_stages.volume.atomic import commit, part_of

T = TypeVar("T")


def s3() -> Any:
    """Return the object store as a filesystem."""
    import fsspec

    return fsspec.filesystem("s3")


def ask_store(what: str, secret: str, question: Callable[[], T]) -> T:
    """Ask the object store, and turn what it refuses into our errors.

    Parameters
    ----------
    what
        What is asked for.
    secret
        The field of the spec that names the keys.
    question
        The call.

    Raises
    ------
    UserError
        If the bucket does not exist, or the keys are missing or may not do what is asked.
    InfrastructureError
        If the store does not answer.
    """
    try:
        return question()
    except PermissionError as error:
        raise UserError(f"{what}: the object store refuses this to the keys of {secret}: {error}") from error
    except FileNotFoundError as error:
        raise UserError(f"{what}: no such bucket: {error}") from error
    except OSError as error:
        raise InfrastructureError(f"{what}: cannot reach the object store: {error}") from error
    except Exception as error:
        # botocore's own errors are no OSError.
        if not type(error).__module__.startswith("botocore"):
            raise
        if "Credentials" in type(error).__name__:
            raise UserError(f"{what}: no keys for the object store ({secret}): {error}") from error
        raise InfrastructureError(f"{what}: cannot reach the object store: {error}") from error


def s3_files(uri: str) -> dict[str, dict[str, Any]]:
    """List the objects at or below a key: size and ETag by relative name."""
    key = uri.removeprefix("s3://").rstrip("/")
    found = ask_store(repr(uri), "s3.secretRef", lambda: s3().find(key, detail=True))
    if not found:
        raise UserError(f"{uri!r}: no such object")
    return {path.removeprefix(key).lstrip("/") or path.rsplit("/", 1)[-1]: info for path, info in found.items()}


def fingerprint_s3(uri: str) -> str:
    """Hash name, size and ETag of every object below a key."""
    digest = hashlib.sha256()
    for name, info in sorted(s3_files(uri).items()):
        digest.update(f"{name}\0{info.get('size')}\0{info.get('ETag')}\0".encode())
    return digest.hexdigest()


def download_s3(uri: str, destination: Path) -> None:
    """Copy every object below a key to a folder; one that is there with its size is not copied again."""
    store = s3()
    for name, info in s3_files(uri).items():
        path = destination / name
        if path.is_file() and path.stat().st_size == info["size"]:
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        part = part_of(path)  # two runs may bring the same data set at once
        ask_store(repr(uri), "s3.secretRef", partial(store.get_file, info["name"], part))
        commit(part, path)
