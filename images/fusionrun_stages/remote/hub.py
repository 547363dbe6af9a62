"""Models and data sets on a Hugging Face hub (``hf://org/name``).

Credentials and address come from HF_TOKEN and HF_ENDPOINT.
"""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from fusionrun_stages.errors import InfrastructureError, UserError
from fusionrun_stages.prompts.tables import split_files
from fusionrun_stages.volume.paths import dataset_folder

T = TypeVar("T")


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
