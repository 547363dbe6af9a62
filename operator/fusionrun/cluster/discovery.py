"""The API groups and kinds that the API server serves. Nothing is cached: a group may be installed at any time.

Notes
-----
Discovery needs no extra permission. Source: Kubernetes, "Using RBAC Authorization", ClusterRole ``system:discovery`` of
all authenticated users.
"""

from collections.abc import Awaitable, Callable

from fusionrun.api.contract import Manifest
from fusionrun.cluster.resources import PREFERRED_VERSIONS

Read = Callable[[str, str, str], Awaitable[Manifest | None]]
"""Returns the object at a path, given its kind and name for errors; None if there is none."""


class Discovery:
    """Requests to the discovery API, by a function that reads a path."""

    def __init__(self, read: Read) -> None:
        self._read = read

    async def version(self, group: str) -> str | None:
        """Return the version to use of a group in ``PREFERRED_VERSIONS``; None if the group is not served."""
        served = await self._versions(group)
        preferred = [version for version in PREFERRED_VERSIONS[group] if version in served]
        return next(iter([*preferred, *served]), None)

    async def serves(self, crd: str) -> bool:
        """Return whether any version of the kind of a CRD, ``PLURAL.GROUP``, is served; reads no CRD."""
        plural, _, group = crd.partition(".")
        for version in await self._versions(group):
            found = await self._read(f"/apis/{group}/{version}", "APIResourceList", f"{group}/{version}") or {}
            if any(resource["name"] == plural for resource in found.get("resources") or []):
                return True
        return False

    async def _versions(self, group: str) -> list[str]:
        """Return the served versions of a group, the one that the API server prefers first."""
        api_group = await self._read(f"/apis/{group}", "APIGroup", group) or {}
        return [item["version"] for item in api_group.get("versions") or []]
