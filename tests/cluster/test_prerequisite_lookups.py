import asyncio

import pytest

from fusionrun.cluster import prerequisite_lookups
from fusionrun.cluster.prerequisite_lookups import FORBIDDEN_SECONDS, PrerequisiteLookups
from fusionrun.errors import ClusterError
from fusionrun.state.decide.prerequisites import KUEUE
from fusionrun.state.observe.backends import NEEDED
from fusionrun.state.observe.object_ref import ObjectRef, run_ref

RUN = run_ref("demo", "tiny")
CLAIM = ObjectRef("v1", "PersistentVolumeClaim", "demo", "data")
RUNTIME_CLASS = ObjectRef("node.k8s.io/v1", "RuntimeClass", "", "gvisor")


@pytest.mark.parametrize("accepted", [True, False])
async def test_a_run_does_not_wait_for_what_must_not_be_looked_up(client, caplog, monkeypatch, accepted):
    now = 1000.0
    monkeypatch.setattr(prerequisite_lookups.time, "monotonic", lambda: now)
    client.fail_on("exists", "RuntimeClass", 403, "forbidden")
    lookups = PrerequisiteLookups(client)
    for _ in range(3):
        assert await lookups.of(RUN, (CLAIM, RUNTIME_CLASS), accepted=accepted) == {CLAIM: False}
    assert client.verbs().count("exists RuntimeClass") == 1, "one request and one warning, not one per reconcile"
    (warning,) = caplog.messages
    assert "rbac.clusterScoped" in warning
    client.fail.clear()
    client.objects[RUNTIME_CLASS] = {}
    now += FORBIDDEN_SECONDS
    assert await lookups.of(RUN, (CLAIM, RUNTIME_CLASS), accepted=accepted) == {CLAIM: False, RUNTIME_CLASS: True}


@pytest.mark.parametrize("ref", [KUEUE, *(ref for refs in NEEDED.values() for ref in refs)], ids=lambda ref: ref.name)
async def test_a_new_run_waits_until_discovery_answers(client, ref):
    """`training.backend: Auto` would otherwise choose another backend for the whole run."""
    client.fail_on("exists", ref.kind, 403, "forbidden")
    with pytest.raises(ClusterError, match="forbidden"):
        await PrerequisiteLookups(client).of(RUN, (ref,), accepted=False)
    assert await PrerequisiteLookups(client).of(RUN, (ref,), accepted=True) == {}


async def test_runs_that_start_together_share_the_replies_of_the_discovery_api(client):
    lookups = PrerequisiteLookups(client)
    client.objects[CLAIM] = {}
    runs = [run_ref("demo", f"run-{number}") for number in range(3)]
    found = await asyncio.gather(*(lookups.of(run, (CLAIM, KUEUE), accepted=False) for run in runs))
    assert found == [{CLAIM: True, KUEUE: False}] * 3
    assert client.verbs().count(f"exists {KUEUE.kind}") == 1
    assert client.verbs().count(f"exists {CLAIM.kind}") == 3
    client.objects[KUEUE] = {}
    assert await lookups.of(run_ref("demo", "later"), (KUEUE,), accepted=False) == {KUEUE: True}
