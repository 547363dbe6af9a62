"""Models and data sets in an object store (``s3://bucket/key``). The AWS_* variables have the credentials."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from fusionrun_stages.errors import InfrastructureError, UserError
from fusionrun_stages.volume.atomic import commit, partial_path

DATA_SECRET = "s3.secretRef"  # noqa: S105 - the name of a field


def s3() -> Any:
    """Return the object store as a filesystem."""
    import fsspec

    return fsspec.filesystem("s3")


@contextmanager
def store_errors(where: str, secret: str = DATA_SECRET) -> Iterator[None]:
    """Convert errors of the object store to stage errors: UserError if a retry cannot succeed.

    ``where`` is the object, with the field of the spec that names it if known; ``secret`` is the field of the spec that
    names the Secret with the keys.
    """
    try:
        yield
    except PermissionError as error:
        raise UserError(f"{where}: the keys of {secret} lack the permission: {error}") from error
    except FileNotFoundError as error:
        raise UserError(f"{where}: no such bucket: {error}") from error
    except Exception as error:
        # botocore's errors are not OSErrors.
        is_botocore = type(error).__module__.startswith("botocore")
        if is_botocore and "Credentials" in type(error).__name__:
            raise UserError(f"{where}: no keys for the object store ({secret}): {error}") from error
        if is_botocore or isinstance(error, OSError):
            raise InfrastructureError(f"{where}: cannot reach the object store: {error}") from error
        raise


def s3_files(uri: str) -> dict[str, dict[str, Any]]:
    """List the objects at or below a key: size and ETag by relative name."""
    key = uri.removeprefix("s3://").rstrip("/")
    with store_errors(repr(uri)):
        objects = s3().find(key, detail=True)
    if not objects:
        raise UserError(f"{uri!r}: no such object")
    return {path.removeprefix(key).lstrip("/") or path.rsplit("/", 1)[-1]: info for path, info in objects.items()}


def fingerprint_s3(uri: str) -> str:
    """Hash name, size and ETag of every object below a key."""
    digest = hashlib.sha256()
    for name, info in sorted(s3_files(uri).items()):
        digest.update(f"{name}\0{info.get('size')}\0{info.get('ETag')}\0".encode())
    return digest.hexdigest()


def download_s3(uri: str, destination: Path) -> None:
    """Download every object below a key to a folder, except those that are there with the same size."""
    store = s3()
    for name, info in s3_files(uri).items():
        path = destination / name
        if path.is_file() and path.stat().st_size == info["size"]:
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = partial_path(path)  # unique per pod: two runs may download the same data set at the same time
        with store_errors(repr(uri)):
            store.get_file(info["name"], partial)
        commit(partial, path)
