"""An operator that is killed between two writes: the next one continues, and no stage runs twice."""

import random
from dataclasses import dataclass, field, replace

import pytest

from fusionrun.state.decide.decision import Decision
from fusionrun.state.decide.run import decide
from fusionrun.state.observe.frozen import data_digest
from support.runs import make_run
from support.world import World

FROZEN = {"tiny-spec": "specDigest", "tiny-resolved": "resolvedDigest"}


@dataclass
class KilledOften(World):
    """A world whose operator is killed after its creates, after its status write, or not at all."""

    chance: random.Random = field(default_factory=random.Random)

    def carry_out(self, decision: Decision) -> None:
        """Carry out a decision, in some cases only its first steps."""
        for manifest in decision.create:
            if field := FROZEN.get(manifest["metadata"]["name"]):
                assert self.run["status"][field] == data_digest(manifest["data"]), "first the digest, then the data"
        match self.chance.choice(("whole", "created", "written")):
            case "created":
                decision = replace(decision, status=None, delete=(), events=())
            case "written":
                decision = replace(decision, delete=(), events=())
        super().carry_out(decision)

    def settle(self) -> None:
        """Reconcile until nothing changes."""
        for _ in range(60):
            decision = self.reconcile()
            if not decision.create and not decision.delete and decision.status is None:
                return
        raise AssertionError("does not settle")


@pytest.mark.parametrize(("seed", "backend"), [(0, "PyTorchJob"), (1, "TrainJob")])
def test_every_stage_runs_once_with_an_operator_that_is_killed_often(seed, backend):
    parts = {"publish": {"uri": "pvc://fusion-data/out"}, "preflight": {"enabled": True}}
    run = make_run(training={"backend": backend}, **parts)
    world = KilledOften(run, chance=random.Random(seed))
    world.complete()
    assert len(world.started) == len(set(world.started))
    assert not world.of_kind("Deployment", "Service")
    last = decide(world.live(), world.settings, world.now)
    assert replace(last, requeue_seconds=None) == Decision(), "only the time at which its objects expire is left"
