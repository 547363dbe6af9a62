"""Models and data sets that lie elsewhere: on a hub (``hf://org/name``) or in an object store (``s3://bucket/key``).

Credentials and addresses come from the environment that the libraries know: HF_TOKEN, HF_ENDPOINT, AWS_*.
"""

import hashlib
import json
import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from fusionrun.api.artifacts import ROOT
from fusionrun_stages.errors import InfrastructureError, UserError
from fusionrun_stages.shards import commit, on_volume, part_of, read_json, write_atomic
from fusionrun_stages.tables import split_files

T = TypeVar("T")

PIN_DIGITS = 12
HTTP_REFUSALS = (401, 403)
WORKERS = 4
"""Files downloaded at once: a hub throttles who asks for more."""


def hub_id(uri: str) -> str:
    """Return ``org/name`` of ``hf://org/name``."""
    return uri.removeprefix("hf://")


def hub_api(endpoint: str | None) -> Any:
    """Return a client of the hub at ``endpoint``, or of the default one."""
    from huggingface_hub import HfApi

    return HfApi(endpoint=endpoint or os.environ.get("HF_ENDPOINT"), token=os.environ.get("HF_TOKEN") or None)


def ask_hub(field: str, what: str, question: Callable[[], T]) -> T:
    """Ask the hub, and turn what it refuses into our errors.

    Raises
    ------
    UserError
        If the repository or revision does not exist, or the token may not do what is asked.
    InfrastructureError
        If the hub does not answer.
    """
    from huggingface_hub.errors import (
        GatedRepoError,
        HfHubHTTPError,
        HFValidationError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    try:
        return question()
    except GatedRepoError as error:
        raise UserError(
            f"{field}: {what!r}: gated: accept its licence and give a token (hub.tokenSecretRef)"
        ) from error
    except RevisionNotFoundError as error:
        raise UserError(f"{field}: {what!r}: no such revision on the hub") from error
    except RepositoryNotFoundError as error:
        raise UserError(f"{field}: {what!r}: not on the hub, or private and the token may not read it") from error
    except HFValidationError as error:
        raise UserError(f"{field}: {what!r}: {error}") from error
    except HfHubHTTPError as error:
        if getattr(error.response, "status_code", None) in HTTP_REFUSALS:
            token = "publish.tokenSecretRef" if field.startswith("publish") else "hub.tokenSecretRef"
            raise UserError(f"{field}: {what!r}: the hub refuses this to the token of {token}: {error}") from error
        raise InfrastructureError(f"{field}: {what!r}: the hub answered: {error}") from error
    except OSError as error:
        raise InfrastructureError(f"{field}: {what!r}: cannot reach the hub: {error}") from error
    except Exception as error:
        # huggingface_hub speaks through httpx, whose errors are no OSError.
        if type(error).__module__.startswith("httpx"):
            raise InfrastructureError(f"{field}: {what!r}: cannot reach the hub: {error}") from error
        raise


def _pin_file(pin: str) -> Path:
    return on_volume(f"{ROOT}/pins/{pin[:PIN_DIGITS]}.json")


def note_pin(uri: str, revision: str) -> None:
    """Note which commit a short pin stands for: the operator knows the pin, and the hub wants the commit.

    Notes
    -----
    Source: huggingface.co/docs/huggingface_hub/guides/download: a commit hash must be whole.
    """
    note = json.dumps({"uri": uri, "revision": revision})
    write_atomic(_pin_file(revision), note.encode())


def noted_revision(pin: str) -> str | None:
    """Return the commit that a short pin stands for, if ``resolve`` noted it."""
    path = _pin_file(pin)
    return str(read_json(path)["revision"]) if path.is_file() else None


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


def dataset_folder(pin: str) -> Path:
    """Return where ``resolve`` puts a remote data set, by its pin; later stages have no network."""
    return on_volume(f"{ROOT}/datasets/{pin[:PIN_DIGITS]}")


def download_dataset(uri: str, revision: str, split: str, api: Any, names: list[str], field: str) -> Path:
    """Copy the files of a hub data set's split to its folder; those that are there are not copied again."""
    folder = dataset_folder(revision)
    chosen = split_files(names, split)
    if not chosen:
        raise UserError(f"{field}: {uri!r}: no data file of split {split!r}")
    ask_hub(
        field,
        uri,
        lambda: api.snapshot_download(
            hub_id(uri),
            repo_type="dataset",
            revision=revision,
            local_dir=folder,
            allow_patterns=chosen,
            max_workers=WORKERS,
        ),
    )
    return folder
