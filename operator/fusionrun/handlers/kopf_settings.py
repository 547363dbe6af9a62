"""Settings of kopf: watches that notice a dead connection, the login, and storages that store nothing."""

import dataclasses
import logging
from collections.abc import Iterable
from typing import Any

import kopf

from fusionrun.cluster.connection import proxy_for

WATCH_PAGE_SIZE = 25
"""Most objects of a kind in one page of the lists with which the watches start: all kinds are listed at the same time.

Small for the same reason as ``cluster.client.LIST_PAGE_SIZE``.
"""


class NoDiffBase(kopf.DiffBaseStorage):  # type: ignore[misc]  # kopf is untyped to mypy
    """Stores no previous state of an object: kopf would copy every object at every event."""

    def build(self, *, body: kopf.Body, extra_fields: Iterable[Any] | None = None) -> kopf.BodyEssence:  # noqa: ARG002
        """Return an empty essence."""
        return kopf.BodyEssence({})

    def fetch(self, *, body: kopf.Body) -> kopf.BodyEssence | None:  # noqa: ARG002
        """Return None."""
        return None

    def store(self, *, body: kopf.Body, patch: kopf.Patch, essence: kopf.BodyEssence) -> None:
        """Do nothing; kopf's default writes an annotation."""


class NoProgress(kopf.ProgressStorage):  # type: ignore[misc]
    """Stores no progress of handlers: ``on.event`` handlers run once and have none."""

    def fetch(self, **_: Any) -> None:
        """Do nothing."""

    store = purge = touch = fetch

    def clear(self, *, essence: kopf.BodyEssence) -> kopf.BodyEssence:
        """Return the essence unchanged."""
        return essence


def configure_kopf() -> kopf.OperatorSettings:
    """Return settings under which kopf writes nothing."""
    settings = kopf.OperatorSettings()
    settings.posting.enabled = False
    settings.peering.standalone = True
    # The server ends a watch, the client gives up a little later, and bookmarks (one per minute) show that the watch
    # is alive: a watch that died silently is noticed within inactivity_timeout.
    settings.watching.server_timeout = 240
    settings.watching.client_timeout = 270
    settings.watching.connect_timeout = 10
    settings.watching.inactivity_timeout = 75
    settings.watching.reconnect_backoff = 0.2
    # kopf lists each kind before it watches it, all kinds at the same time, and holds an object until its worker ends.
    settings.watching.chunk_size = WATCH_PAGE_SIZE
    settings.queueing.idle_timeout = 0.05
    settings.persistence.diffbase_storage = NoDiffBase()
    settings.persistence.progress_storage = NoProgress()
    settings.networking.request_timeout = 30
    settings.networking.connect_timeout = 5
    # Wait half an hour for an unavailable API server; after that the kubelet restarts the operator.
    settings.networking.error_backoffs = (0.2, 0.5, 1, 2, *[3] * 600)
    settings.queueing.exit_timeout = 1.0
    settings.process.ultimate_exiting_timeout = 20.0
    # These log every event that kopf handles, and every probe.
    for name in ("kopf.objects", "kopf.activities.probe", "aiohttp.access"):
        logging.getLogger(name).setLevel(logging.WARNING)
    return settings


def login(server: str, **kwargs: Any) -> kopf.ConnectionInfo | None:
    """Log in to kopf with the pod's service account or, outside a cluster, with KUBECONFIG.

    kopf would resolve the API server by its name in the cluster's DNS, which may not work: it gets the address and the
    proxy of the Kubernetes client instead.
    """
    account = kopf.login_with_service_account(**kwargs)
    if account:
        return dataclasses.replace(account, server=server, proxy_url=proxy_for(server))
    found = kopf.login_with_kubeconfig(**kwargs)
    return found and dataclasses.replace(found, proxy_url=found.proxy_url or proxy_for(found.server))
