"""Settings of kopf: watches that detect a lost connection, the login, and storages without data."""

import dataclasses
import itertools
import logging
from collections.abc import Iterable, Iterator
from typing import Any

import kopf

from fusionrun.cluster.connection import proxy_for

WATCH_PAGE_SIZE = 25
"""Maximum number of objects in one page of the list with which each watch starts. All kinds are listed at once.

It is small to save memory (``cluster.client.LIST_PAGE_SIZE``).
"""


class NoDiffBase(kopf.DiffBaseStorage):  # type: ignore[misc]  # kopf is untyped to mypy
    """Stores no previous state of an object. By default, kopf copies each object at each event."""

    def build(self, *, body: kopf.Body, extra_fields: Iterable[Any] | None = None) -> kopf.BodyEssence:  # noqa: ARG002
        """Return an empty essence."""
        return kopf.BodyEssence({})

    def fetch(self, *, body: kopf.Body) -> kopf.BodyEssence | None:  # noqa: ARG002
        """Return None."""
        return None

    def store(self, *, body: kopf.Body, patch: kopf.Patch, essence: kopf.BodyEssence) -> None:
        """Do nothing. By default, kopf writes an annotation."""


class NoProgress(kopf.ProgressStorage):  # type: ignore[misc]
    """Stores no progress of handlers: ``on.event`` handlers run once and have none."""

    def fetch(self, **_: Any) -> None:
        """Do nothing."""

    store = purge = touch = fetch

    def clear(self, *, essence: kopf.BodyEssence) -> kopf.BodyEssence:
        """Return the essence unchanged."""
        return essence


class Backoffs:
    """Seconds between the attempts of a request of kopf, without an end.

    A watch that fails ends the process, and with it the watches of all namespaces: one whose Role was deleted must not
    stop the others. If the API server does not reply for long, the liveness probe fails (``handlers.resync``).
    """

    def __iter__(self) -> Iterator[float]:
        """Yield short times for half an hour, then longer ones."""
        return itertools.chain((0.2, 0.5, 1.0, 2.0), itertools.repeat(3.0, 600), itertools.repeat(30.0))


def configure_kopf(*, scanning: bool = True) -> kopf.OperatorSettings:
    """Return settings with which kopf does not change objects.

    Without ``scanning``, kopf watches neither namespaces nor CRDs, and notices new ones only when it starts. Otherwise
    it first lists the namespaces, and repeats that while it is forbidden.
    """
    settings = kopf.OperatorSettings()
    settings.posting.enabled = False
    settings.scanning.disabled = not scanning
    settings.peering.standalone = True
    # The server ends a watch after 240 s, and the client after 270 s. Bookmarks arrive once per minute: if no data
    # arrives within inactivity_timeout, the connection is lost.
    settings.watching.server_timeout = 240
    settings.watching.client_timeout = 270
    settings.watching.connect_timeout = 10
    settings.watching.inactivity_timeout = 75
    settings.watching.reconnect_backoff = 0.2
    # kopf keeps each listed object in memory until its worker ends.
    settings.watching.chunk_size = WATCH_PAGE_SIZE
    settings.queueing.idle_timeout = 0.05
    settings.persistence.diffbase_storage = NoDiffBase()
    settings.persistence.progress_storage = NoProgress()
    settings.networking.request_timeout = 30
    settings.networking.connect_timeout = 5
    settings.networking.error_backoffs = Backoffs()
    settings.queueing.exit_timeout = 1.0
    settings.process.ultimate_exiting_timeout = 20.0
    # They log every event that kopf handles, and every request.
    for name in ("kopf.objects", "aiohttp.access"):
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
    connection = kopf.login_with_kubeconfig(**kwargs)
    return connection and dataclasses.replace(
        connection, proxy_url=connection.proxy_url or proxy_for(connection.server)
    )
