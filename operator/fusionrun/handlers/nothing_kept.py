"""Storages of kopf that keep nothing: only ``on.event`` is used, which needs neither."""

from collections.abc import Iterable
from typing import Any

import kopf


class NoDiffBase(kopf.DiffBaseStorage):  # type: ignore[misc]  # kopf is untyped to mypy
    """Make no copy of an object to compare its next state with: kopf would deep-copy each object at each event."""

    def build(self, *, body: kopf.Body, extra_fields: Iterable[Any] | None = None) -> kopf.BodyEssence:  # noqa: ARG002
        """Return an empty essence."""
        return kopf.BodyEssence({})

    def fetch(self, *, body: kopf.Body) -> kopf.BodyEssence | None:  # noqa: ARG002
        """Return nothing: no essence was ever stored."""
        return None

    def store(self, *, body: kopf.Body, patch: kopf.Patch, essence: kopf.BodyEssence) -> None:
        """Store nothing, least of all in an annotation."""


class NoProgress(kopf.ProgressStorage):  # type: ignore[misc]
    """Keep no progress of handlers: those of ``on.event`` run once and have none."""

    def fetch(self, *, key: Any, body: kopf.Body) -> None:
        """Return nothing."""

    def store(self, *, key: Any, record: Any, body: kopf.Body, patch: kopf.Patch) -> None:
        """Store nothing."""

    def purge(self, *, key: Any, body: kopf.Body, patch: kopf.Patch) -> None:
        """Purge nothing."""

    def touch(self, *, body: kopf.Body, patch: kopf.Patch, value: str | None) -> None:
        """Touch nothing."""

    def clear(self, *, essence: kopf.BodyEssence) -> kopf.BodyEssence:
        """Return the essence as it is."""
        return essence
