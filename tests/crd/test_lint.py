"""``kubectl fusionrun lint`` refuses what the real API server refuses, and nothing else."""

import pytest
import yaml

from fusionrun.api.crd.definition import build_crd
from fusionrun.cli import schema
from fusionrun.plan.defaults import descriptions
from support.mutated import mutated

pytestmark = pytest.mark.cluster


def test_lint_and_the_api_server_agree_on_changed_samples(cluster):
    crd = build_crd(descriptions())
    spec = crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]
    different = []
    for change, run in mutated(seed=1, count=300):
        reply = cluster.create(yaml.safe_dump(run), dry_run=True)
        found = [str(error) for error in schema.check(schema.without_nulls(run["spec"], spec), spec, "spec")]
        if reply.ok == bool(found):
            different.append((change, found or reply.text))
    assert different == [], "\n".join(map(str, different))
