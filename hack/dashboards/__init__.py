"""The Grafana dashboards in manifests/monitoring, built with grafana-foundation-sdk (hack/generate writes them)."""

import json

from grafana_foundation_sdk.cog.encoder import JSONEncoder

from dashboards import fleet, run

BUILT = {"dashboard.json": run.build, "dashboard-fleet.json": fleet.build}


def render(name: str) -> str:
    """Return the JSON of a dashboard, by the name of its file."""
    return json.dumps(BUILT[name](), cls=JSONEncoder, indent=2) + "\n"
