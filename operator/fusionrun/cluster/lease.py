"""The Lease of the operator: of several operators that watch the same namespaces, only its holder acts.

The algorithm is that of client-go (tools/leaderelection): the holder renews the Lease, and another operator takes it
when it has not changed for ``DURATION_SECONDS``, measured with its own monotonic clock. There are three differences. A
container that restarts in the same pod is the same holder, and goes on at once. A Lease that was not renewed for
``STALE_SECONDS`` by the wall clock is taken at once, so that the replacement of a pod on a lost node need not wait.
Every request has a timeout, after which the holder counts as replaced.

kopf's peering is no election: of two peers with the same priority, both stop. The election of the Kubernetes library
has no timeout for its requests, does not release the Lease, and measures with the wall clock.
"""

import asyncio
import logging
import os
import socket
import time
import uuid
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any

from fusionrun.api.contract import Manifest
from fusionrun.cluster.client import Client
from fusionrun.errors import ClusterError, NotLeaderError
from fusionrun.names import FIELD_MANAGER, LABEL_MANAGED_BY, MANAGED_BY, digest_of
from fusionrun.state.observe.object_ref import ObjectRef

logger = logging.getLogger(__name__)

DURATION_SECONDS = 12
"""Time after which others take a Lease that was not renewed."""
RENEW_DEADLINE_SECONDS = 8.0
"""Time without a renewal after which the holder stops: well before others take the Lease."""
RETRY_SECONDS = 2.0
"""Time between two renewals, or two attempts to take the Lease."""
STALE_SECONDS = 40.0
"""Age of the last renewal, by the wall clock, from which a Lease is taken without waiting. The clocks of two nodes
differ by less than this and ``DURATION_SECONDS``."""

_NOT_FOUND, _CONFLICT = 404, 409


class Lease:
    """The Lease from the view of one operator process.

    Parameters
    ----------
    client
        Has no guard of its own: it also sends requests while this process does not hold the Lease.
    holder
        Identity of this process: the same for all containers of a pod, one after the other.
    monotonic, now
        Clocks, for tests.
    """

    def __init__(
        self,
        client: Client,
        ref: ObjectRef,
        holder: str,
        monotonic: Callable[[], float] = time.monotonic,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._client = client
        self._ref = ref
        self._holder = holder
        self._monotonic = monotonic
        self._now = now
        self._held_until = float("-inf")
        self._observed: tuple[Any, ...] = ()
        self._observed_at = 0.0
        self.other = ""
        """The holder of the Lease if it is another process."""

    @property
    def is_held(self) -> bool:
        """Whether this process holds the Lease and may write."""
        return self._monotonic() < self._held_until

    def guard(self) -> None:
        """Raise NotLeaderError unless this process holds the Lease: called before each write."""
        if not self.is_held:
            raise NotLeaderError(f"Lease {self._ref.namespace}/{self._ref.name} was not renewed in time")

    async def acquire(self) -> None:
        """Wait until this process holds the Lease; log who holds it meanwhile."""
        logged = None
        while not await self.try_once():
            if self.other != logged:
                logged = self.other
                place = f"Lease {self._ref.namespace}/{self._ref.name}"
                logger.warning("waiting: another operator, %s, acts and holds %s", logged or "(unknown)", place)
            await asyncio.sleep(RETRY_SECONDS)
        logger.info("acting as the holder %s of Lease %s/%s", self._holder, self._ref.namespace, self._ref.name)

    async def keep(self) -> None:
        """Renew the Lease until it is lost."""
        while True:
            await asyncio.sleep(RETRY_SECONDS)
            if not await self.try_once() and (self.other or not self.is_held):
                self._held_until = float("-inf")
                return

    async def release(self) -> None:
        """Give the Lease up, so that another operator acts at once. It is not an error if that fails."""
        if not self.is_held:
            return
        self._held_until = float("-inf")
        try:
            async with asyncio.timeout(RETRY_SECONDS):
                lease = await self._client.get(self._ref)
                spec = dict(lease["spec"])
                if spec.pop("holderIdentity", "") == self._holder:
                    await self._client.replace(lease | {"spec": spec})
        except (ClusterError, TimeoutError) as error:
            logger.warning("cannot release the Lease: %s", error or "no reply")

    async def try_once(self) -> bool:
        """Take or renew the Lease if that is possible; return whether it succeeded."""
        started = self._monotonic()
        try:
            async with asyncio.timeout(RENEW_DEADLINE_SECONDS - RETRY_SECONDS):
                held = await self._take()
        except (ClusterError, TimeoutError) as error:
            logger.warning("cannot renew or take the Lease: %s", error or "no reply")
            return False
        if held:
            self._held_until = started + RENEW_DEADLINE_SECONDS
        return held

    async def _take(self) -> bool:
        try:
            lease = await self._client.get(self._ref)
        except ClusterError as error:
            if error.status != _NOT_FOUND:
                raise
            return await self._write(self._client.create, _EMPTY | {"metadata": self._metadata()}, {})
        spec = lease.get("spec") or {}
        holder = spec.get("holderIdentity") or ""
        observed = (holder, spec.get("renewTime"))
        if observed != self._observed:
            self._observed, self._observed_at = observed, self._monotonic()
        self.other = "" if holder == self._holder else holder
        if self.other and not self._expired(spec):
            return False
        return await self._write(self._client.replace, lease, spec)

    def _expired(self, spec: Manifest) -> bool:
        duration = int(spec.get("leaseDurationSeconds") or DURATION_SECONDS)
        if self._monotonic() - self._observed_at >= duration:
            return True
        renewed = spec.get("renewTime")
        return renewed is not None and (self._now() - datetime.fromisoformat(renewed)).total_seconds() >= STALE_SECONDS

    async def _write(self, send: Callable[[Manifest], Any], lease: Manifest, spec: Manifest) -> bool:
        """Write this process as the holder; False if another process was faster."""
        now = self._now().strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        is_new = spec.get("holderIdentity") != self._holder
        new = {
            "holderIdentity": self._holder,
            "leaseDurationSeconds": DURATION_SECONDS,
            "acquireTime": now if is_new else spec.get("acquireTime", now),
            "renewTime": now,
            "leaseTransitions": int(spec.get("leaseTransitions") or 0) + (is_new and bool(spec)),
        }
        try:
            await send(lease | {"spec": new})
        except ClusterError as error:
            if error.status != _CONFLICT:
                raise
            return False
        self.other = ""
        return True

    def _metadata(self) -> Manifest:
        labels = {LABEL_MANAGED_BY: MANAGED_BY}
        return {"name": self._ref.name, "namespace": self._ref.namespace, "labels": labels}


_EMPTY: Manifest = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease"}


def lease_ref(lease_namespace: str, namespaces: Sequence[str]) -> ObjectRef:
    """Return the Lease of the operators that watch some namespaces; of those that watch all if there are none."""
    name = "-".join([FIELD_MANAGER, *([digest_of(*sorted(namespaces))] if namespaces else [])])
    return ObjectRef(_EMPTY["apiVersion"], _EMPTY["kind"], lease_namespace, name)


def holder_identity() -> str:
    """Return the name and UID of this pod; outside a pod, the name of the host and a random number."""
    pod = [os.environ.get(name, "") for name in ("POD_NAME", "POD_UID")]
    return "_".join(pod) if all(pod) else f"{socket.gethostname()}_{uuid.uuid4()}"
