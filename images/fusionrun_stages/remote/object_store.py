"""Models and data sets in an object store (``s3://bucket/key``). The AWS_* variables have the credentials."""

import hashlib
import os
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any

from fusionrun.api.artifacts import PIN_LENGTH
from fusionrun_stages.errors import InfrastructureError, UserError
from fusionrun_stages.models.weights import INDEX, listed
from fusionrun_stages.volume.atomic import commit, partial_path
from fusionrun_stages.volume.paths import inside_volume

DATA_SECRET = "s3.secretRef"  # noqa: S105 - the name of a field


def s3() -> Any:
    """Return the object store as a filesystem that does not cache listings: objects may change during a run.

    The AWS_* and *_PROXY variables apply. The certificates of SSL_CERT_FILE are used as well, as by the client of the
    hub, unless a variable that botocore itself reads names others.
    Source: botocore, session.py (``ca_bundle``) and endpoint.py (``_get_verify_value``).
    """
    import fsspec

    certificates = os.environ.get("SSL_CERT_FILE")
    if not certificates or os.environ.get("AWS_CA_BUNDLE") or os.environ.get("REQUESTS_CA_BUNDLE"):
        return fsspec.filesystem("s3", use_listings_cache=False)
    return fsspec.filesystem("s3", use_listings_cache=False, client_kwargs={"verify": certificates})


@contextmanager
def store_errors(where: str, secret: str = DATA_SECRET) -> Iterator[None]:
    """Convert errors of the object store to stage errors: UserError if a retry cannot succeed.

    ``where`` is the object, with the field of the spec that names it if known; ``secret`` is the field of the spec that
    names the Secret with the keys.
    """
    try:
        yield
    except PermissionError as error:
        raise UserError(
            f"{where}: the keys of {secret}, or the service account, lack the permission: {error}"
        ) from error
    except FileNotFoundError as error:
        raise UserError(f"{where}: no such bucket: {error}") from error
    except Exception as error:
        # botocore's errors are not OSErrors.
        is_botocore = type(error).__module__.startswith("botocore")
        if is_botocore and "Credentials" in type(error).__name__:
            rule = f"no keys for the object store: set {secret}, or dataStages.pod.serviceAccountName"
            raise UserError(f"{where}: {rule}: {error}") from error
        if is_botocore or isinstance(error, OSError):
            raise InfrastructureError(f"{where}: cannot reach the object store: {error}") from error
        raise


def s3_files(uri: str) -> dict[str, dict[str, Any]]:
    """List the objects at or below a key: size and ETag by relative name. Folder markers (``key/``) are left out.

    Raise UserError if there is no object, or if a name would be outside of the folder to which it is downloaded.
    """
    key = uri.removeprefix("s3://").rstrip("/")
    with store_errors(repr(uri)):
        objects = s3().find(key, detail=True)
    files = {
        path.removeprefix(key).removeprefix("/") or path.rsplit("/", 1)[-1]: info
        for path, info in objects.items()
        if not path.endswith("/")
    }
    if not files:
        raise UserError(f"{uri!r}: no such object")
    for name in files:
        _check_name(uri, name)
    return files


def _check_name(uri: str, name: str) -> None:
    """Refuse a name that a file system does not read as a path below the folder. A key may be any text."""
    parts = name.split("/")
    if "\0" in name or "\\" in name or PurePosixPath(name).is_absolute() or {"", ".", ".."} & set(parts):
        rule = "must be a relative path without empty parts, '.', '..', backslashes and NUL"
        raise UserError(f"{uri!r}: object {name!r}: its name below the key {rule}")


def s3_shards(uri: str, files: Mapping[str, Mapping[str, Any]]) -> frozenset[str] | None:
    """Return the weights files that the index of a model names; None without an index."""
    if INDEX not in files:
        return None
    with store_errors(repr(uri)):
        return listed(s3().cat_file(files[INDEX]["name"]), repr(uri))


def read_s3(uri: str, files: Mapping[str, Mapping[str, Any]], folder: Path) -> None:
    """Copy small objects into a temporary folder, by their relative names. They are not compared with a pin."""
    with store_errors(repr(uri)):
        for name, info in files.items():
            (folder / name).write_bytes(s3().cat_file(info["name"]))


def fingerprint_s3(files: Mapping[str, Mapping[str, Any]]) -> str:
    """Hash name, size and ETag of objects from ``s3_files``."""
    digest = hashlib.sha256()
    for name, info in sorted(files.items()):
        digest.update(f"{name}\0{info.get('size')}\0{info.get('ETag')}\0".encode())
    return digest.hexdigest()


def download_s3(uri: str, destination: Path, pin: str, names: Collection[str] | None = None) -> None:
    """Download the objects below a key, or those with the given names; skip files that are there with the same size.

    Parameters
    ----------
    pin
        The fingerprint of all objects (``fingerprint_s3``), or its first ``PIN_LENGTH`` digits.

    Raises
    ------
    UserError
        If the objects are not those of the pin, before or after the download. The files that this call downloaded are
        then removed: the folder has the name of the pin, so a later run would use them.
    """
    store = s3()
    files = s3_files(uri)
    _check_pin(uri, files, pin)
    downloaded: list[Path] = []
    try:
        for name, info in files.items():
            path = destination / name
            if names is not None and name not in names:
                continue
            if path.is_file() and path.stat().st_size == info["size"]:
                continue
            inside_volume(path.parent).mkdir(parents=True, exist_ok=True)
            partial = partial_path(path)  # unique per pod: two runs may download the same data set at the same time
            with store_errors(repr(uri)):
                store.get_file(info["name"], partial)
            downloaded.append(path)
            commit(partial, path)
        if downloaded:
            _check_pin(uri, s3_files(uri), pin)
    except UserError:
        for path in downloaded:
            path.unlink(missing_ok=True)
        raise


def _check_pin(uri: str, files: Mapping[str, Mapping[str, Any]], pin: str) -> None:
    found = fingerprint_s3(files)
    if found[:PIN_LENGTH] != pin[:PIN_LENGTH]:
        raise UserError(
            f"{uri!r}: its objects have changed since the run was resolved (fingerprint {found[:PIN_LENGTH]}, pinned "
            f"{pin[:PIN_LENGTH]}): create a new run, or restore the objects"
        )
