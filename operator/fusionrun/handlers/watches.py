"""kopf's watches: every event goes into the store and, when it is news, pokes its run. Nothing is decided here.

Only ``on.event`` is used: it leaves no finalizer and no annotation on anything (kopf's other handlers do).
"""

from collections.abc import Callable
from typing import Any

import kopf

from fusionrun.cluster.client import RESOURCES
from fusionrun.cluster.gather import CHILDREN, Gatherer
from fusionrun.cluster.store import Store
from fusionrun.handlers.pokes import Pokes
from fusionrun.metrics import Metrics
from fusionrun.names import GROUP, KIND, LABEL_RUN, PLURAL, VERSION
from fusionrun.state.observe.object_ref import ObjectRef, ref_of, run_of


class Watches:
    """What to do with the events of runs, of their children, and of claims.

    Parameters
    ----------
    store, gatherer, pokes, metrics
        Who is told.
    gone
        Told of every run that was deleted.
    ready
        Whether the store is complete; before that, no run is reconciled.
    relisted
        Called for every object of a list with which a watch begins. Such a list does not show what was deleted before.
    """

    def __init__(
        self,
        *,
        store: Store,
        gatherer: Gatherer,
        pokes: Pokes,
        metrics: Metrics,
        gone: Callable[[ObjectRef], None],
        ready: Callable[[], bool],
        relisted: Callable[[], None],
    ) -> None:
        self._store = store
        self._gatherer = gatherer
        self._pokes = pokes
        self._metrics = metrics
        self._gone = gone
        self._ready = ready
        self._relisted = relisted

    def register(self, registry: kopf.OperatorRegistry, settings: kopf.OperatorSettings) -> None:
        """Watch runs, their children by label, and claims."""
        kopf.on.event(GROUP, VERSION, PLURAL, id="run", registry=registry)(self.object_changed)
        for api_version, kind in CHILDREN:
            group, _, version = api_version.rpartition("/")
            plural, _namespaced = RESOURCES[api_version, kind]
            kopf.on.event(group, version, plural, id="child", registry=registry)(self.object_changed)
            settings.watching.label_selectors[group, version, plural] = LABEL_RUN
        kopf.on.event("", "v1", "persistentvolumeclaims", id="claim", registry=registry)(self.claim_changed)

    async def object_changed(self, event: dict[str, Any], **_: Any) -> None:
        """Keep a run or a child, and poke the run if this was news."""
        manifest = event["object"]
        self._metrics.watch_last_event.labels(manifest["kind"]).set_to_current_time()
        ref, run = ref_of(manifest), run_of(manifest)
        if event["type"] == "DELETED":
            news = self._store.remove(ref, manifest["metadata"].get("resourceVersion") or "")
            if ref.kind == KIND:
                # Late news of a namesake that is gone is none of its successor.
                successor = self._store.get(ref)
                if successor is None or successor["metadata"]["uid"] == manifest["metadata"]["uid"]:
                    self._gone(ref)
                return
        else:
            news = self._store.put(manifest)
        if event["type"] is None:
            self._relisted()
        if news and run is not None and self._ready():
            self._pokes.poke(run, watched=True)

    async def claim_changed(self, event: dict[str, Any], **_: Any) -> None:
        """Poke the runs that were waiting for a claim."""
        claim = ref_of(event["object"])
        self._metrics.watch_last_event.labels(claim.kind).set_to_current_time()
        for run in self._gatherer.claim_changed(claim, exists=event["type"] != "DELETED"):
            self._pokes.poke(run, watched=True)
