"""``kubectl fusionrun check`` on the objects of two releases of the chart."""

import pytest

from fusionrun.cli.checks.controllers import operator
from fusionrun.cli.checks.finding import Level


class Installed:
    """A cluster with the objects of releases."""

    def __init__(self, objects: list[dict]) -> None:
        self.objects = objects

    def read(self, _verb: str, kind: str, *words: str) -> dict:
        match kind:
            case "deployments":
                wanted = dict(label.split("=") for label in words[-1].split(","))
                deployments = [each for each in self.objects if each["kind"] == "Deployment"]
                return {"items": [d for d in deployments if wanted.items() <= d["metadata"]["labels"].items()]}
            case "configmap":
                named = {(o["metadata"]["namespace"], o["metadata"]["name"]): o for o in self.objects
                         if o["kind"] == "ConfigMap"}  # fmt: skip
                return named[words[-1], words[0]]
        return {"items": []}


@pytest.mark.parametrize(
    ("values", "level"),
    [
        ((), Level.NOTE),
        (('operator.leaseNamespace="leases"',), Level.OK),
        (('operator.leaseNamespace="leases"', 'watchNamespaces=["one","two"]'), Level.OK),
        (('watchNamespaces=["one","two"]',), Level.NOTE),
    ],
)
def test_two_releases_act_together_unless_they_share_a_lease(helm, values, level):
    objects = [each for namespace in ("a", "b") for each in helm.template(*values, namespace=namespace)]
    (found,) = [each for each in operator(Installed(objects), "") if each.check == "FusionRun operators"]
    assert (found.level, found.found) == (level, "a/fusionrun, b/fusionrun")
