"""What of a spec is published, in the cards and in ``provenance.json``: the recipe, not how and where the run ran."""

from typing import Any
from urllib.parse import urlsplit, urlunsplit

from fusionrun.api.spec.run import FusionRunSpec

PUBLISHED_FIELDS = ("recipe", "target", "sources", "rewardModel", "datasets", "construction", "training", "evaluation")
"""Not published: claims' and Secrets' names, hubs, scheduling, budget, and the publication itself."""
OPERATIONAL_FIELDS = frozenset({
    "resources", "pod", "replicas", "apiKeySecretRef", "quota", "prices", "startupTimeoutSeconds", "reportTo", "mlflow",
})  # fmt: skip
"""Fields at any depth that do not change what is trained."""


def published_spec(spec: FusionRunSpec) -> dict[str, Any]:
    """Return the published fields of a spec as JSON values, with the URLs of endpoints as in ``public_url``."""
    values = spec.model_dump(mode="json", exclude_none=True)
    return {name: _published(name, values[name]) for name in PUBLISHED_FIELDS if name in values}


def _published(name: str, value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _published(key, item) for key, item in value.items() if key not in OPERATIONAL_FIELDS}
    if isinstance(value, list):
        return [_published(name, item) for item in value]
    return public_url(value) if name == "url" else value


def public_url(url: str) -> str:
    """Return a URL without user, password, query and fragment, which may hold credentials."""
    try:
        parts = urlsplit(url)
        host = parts.netloc.rpartition("@")[2]
        return urlunsplit((parts.scheme, host, parts.path, "", ""))
    except ValueError:
        return "(invalid URL)"
