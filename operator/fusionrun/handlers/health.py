"""The probes of the kubelet: ``/healthz`` restarts the operator, ``/readyz`` tells whether it follows runs.

An operator that waits for the Lease is alive and ready: it replaces the one that acts.
"""

from collections.abc import Callable

from aiohttp import web

from fusionrun.handlers.resync import Resync


def health(resync: Resync, waits_for: Callable[[], str | None]) -> web.Application:
    """Return the web application of the probes.

    ``waits_for`` returns the holder of the Lease that this operator waits for; None if it acts.
    """

    async def healthz(_: web.Request) -> web.Response:
        if (holder := waits_for()) is not None:
            return web.json_response({"leader": False, "holder": holder})
        try:
            return web.json_response({"leader": True, "resync_age_seconds": round(resync.check_alive(), 3)})
        except TimeoutError as error:
            return web.Response(status=503, text=str(error))

    async def readyz(_: web.Request) -> web.Response:
        holder = waits_for()
        if holder == "":
            return web.Response(status=503, text="the Lease could not be read or taken yet: see the log")
        if holder is None:
            try:
                resync.check_ready()
            except TimeoutError as error:
                return web.Response(status=503, text=str(error))
        return web.json_response({"forbidden": resync.forbidden})

    application = web.Application()
    application.router.add_get("/healthz", healthz)
    application.router.add_get("/readyz", readyz)
    return application
