"""Check that a run can write to its destination before it uses GPUs, with the credentials of ``publish``.

A file that is written for the check is deleted at once.
"""

import logging
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fusionrun.api.tasks.parameters import PublishingCheckParameters
from fusionrun_stages.errors import UserError
from fusionrun_stages.remote.hub import confirms_access, hub_client, hub_errors, hub_id
from fusionrun_stages.remote.object_store import s3, store_errors
from fusionrun_stages.remote.publication import (
    CHECK_PREFIX,
    PUBLISH_SECRET,
    check_folder,
    check_key,
    check_repository,
    repositories,
)
from fusionrun_stages.volume.paths import inside_volume

log = logging.getLogger(__name__)

WRITING_ROLES = ("admin", "write", "contributor")
"""Roles in an organization that may create repositories. Source: huggingface.co/docs/hub/organizations-security."""
WRITING_PERMISSION = "repo.write"
"""Permission of a fine-grained token, for a namespace or for all. Source: huggingface.co/docs/hub/security-tokens."""


def check_publishing(parameters: PublishingCheckParameters, name: str) -> dict[str, Any]:
    """Check the destination; return what was checked, for the manifest.

    Parameters
    ----------
    name
        Part of the name of the files that are written for the check: unique for the pod.

    Raises
    ------
    UserError
        If the credentials cannot write there, or there are files that no FusionRun published.
    InfrastructureError
        If the hub or the object store cannot be reached.
    """
    destination = parameters.destination
    if destination.startswith("hf://"):
        return _check_hub(hub_id(destination), parameters.hub_endpoint)
    if destination.startswith("s3://"):
        return _check_s3(destination, name)
    return _check_folder(Path(destination), name)


def _check_hub(name: str, endpoint: str | None) -> dict[str, Any]:
    """Check both repositories: those that exist by the hub's own answer, others by what the token may create."""
    client, checked = hub_client(endpoint), {}
    for _, kind, repository in repositories(name):
        if check_repository(client, kind, repository):
            checked[repository] = "may write" if _may_write(client, kind, repository) else "exists"
            continue
        with hub_errors("publish.uri", repository):
            account = client.whoami()
        if rule := why_not(account, repository.partition("/")[0]):
            raise UserError(f"publish.uri: {repository!r}: the token of publish.tokenSecretRef {rule}")
        checked[repository] = "may create"
    return checked


def _may_write(client: Any, kind: str, repository: str) -> bool:
    """Return whether the hub says that the token may write; False if it has no such check."""
    with hub_errors("publish.uri", repository):
        confirmed = confirms_access(client, repository, kind, write=True)
    if not confirmed:
        log.warning("%s: the hub cannot say whether the token may write", repository)
    return confirmed


def why_not(account: Mapping[str, Any], namespace: str) -> str:
    """Return why a token cannot create a repository in a namespace; empty if it can, or if that is not known.

    ``account`` is the reply of ``whoami``. Fields that a hub leaves out are not known.
    """
    token = (account.get("auth") or {}).get("accessToken") or {}
    organizations = {o.get("name"): o.get("roleInOrg") for o in account.get("orgs") or []}
    if token.get("role") == "read":
        return "can only read: create one with the role write"
    if namespace != account.get("name"):
        if namespace not in organizations:
            return f"belongs to {account.get('name')}, which is not a member of {namespace}"
        role = organizations[namespace]
        if role is not None and role not in WRITING_ROLES:
            return f"belongs to {account.get('name')}, whose role in {namespace} is {role}"
    if token.get("role") == "fineGrained" and "fineGrained" in token:
        granted = token["fineGrained"] or {}
        scopes = [s.get("permissions") or [] for s in granted.get("scoped") or [] if _name_of(s) == namespace]
        if not any(WRITING_PERMISSION in permissions for permissions in (granted.get("global") or [], *scopes)):
            return f"lacks the permission {WRITING_PERMISSION} for {namespace}"
    return ""


def _name_of(scope: Mapping[str, Any]) -> str | None:
    name = (scope.get("entity") or {}).get("name")
    return str(name) if name else None


def _check_s3(uri: str, name: str) -> dict[str, Any]:
    key = uri.removeprefix("s3://").rstrip("/")
    marker = f"{key}/{CHECK_PREFIX}{name}"
    with store_errors(f"publish.uri: {uri!r}", PUBLISH_SECRET):
        store = s3()
        check_key(store, uri, key)
        store.pipe_file(marker, b"")
        store.rm_file(marker)
    return {uri: "may write and delete"}


def _check_folder(destination: Path, name: str) -> dict[str, Any]:
    inside_volume(destination)
    check_folder(destination)
    parent = next(path for path in destination.parents if path.exists())
    if not parent.is_dir():
        raise UserError(f"publish.uri: {str(destination)!r}: {parent} is not a directory")
    try:
        descriptor, path = tempfile.mkstemp(prefix=f"{CHECK_PREFIX}{name}-", dir=parent)
    except PermissionError as error:
        rule = f"user {os.getuid()} of the pods must be able to write to {parent}"
        raise UserError(f"publish.uri: {str(destination)!r}: {rule}") from error
    os.close(descriptor)
    Path(path).unlink()
    return {str(destination): "may write"}
