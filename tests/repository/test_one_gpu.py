"""The sample for one GPU: on the hub with one GPU, and as hack/demo changes it for a cluster without GPUs."""

from pathlib import Path

import pytest
import yaml
from overlay import merge

from fusionrun.api.spec.run import FusionRunSpec
from fusionrun.api.stage import StageKind
from fusionrun.plan.checks import check_spec
from support.plans import pinned_of, read
from support.runs import UID
from support.world import World

ROOT = Path(__file__).parents[2]
SAMPLE = yaml.safe_load((ROOT / "manifests" / "samples" / "one-gpu.yaml").read_text())
ON_CPUS = merge(SAMPLE, yaml.safe_load((ROOT / "hack" / "demo" / "one-gpu.yaml").read_text()))


def stages_of(run: dict) -> dict[str, int]:
    """Return the GPUs of each stage."""
    return {stage.name: stage.gpus for stage in pinned_of("one-gpu", run["spec"]).plan.stages}


def test_no_stage_of_the_sample_needs_more_than_one_gpu_or_a_token():
    assert set(stages_of(SAMPLE).values()) == {0, 1}
    spec = read(SAMPLE["spec"])
    assert spec.scheduling.gpu_budget == spec.scheduling.max_servers == 1
    assert spec.hub is None


def test_the_claim_of_the_sample_is_the_one_in_its_manifest():
    claim = yaml.safe_load((ROOT / "manifests" / "samples" / "claims" / "one-gpu.yaml").read_text())
    assert claim["metadata"]["name"] == SAMPLE["spec"]["storage"]["claimName"]


def test_on_cpus_the_same_stages_run_without_downloads_and_gpus():
    spec = FusionRunSpec.model_validate(ON_CPUS["spec"], extra="forbid")
    assert "hf://" not in spec.model_dump_json()
    assert check_spec(read(ON_CPUS["spec"])) == []
    found = stages_of(ON_CPUS)
    assert set(found.values()) == {0}
    assert found.keys() == {name for name in stages_of(SAMPLE) if not name.startswith(f"{StageKind.FETCH}/")}


@pytest.mark.parametrize("sample", [SAMPLE, ON_CPUS], ids=["on a GPU", "on CPUs"])
def test_a_simulated_run_completes(sample):
    world = World(sample | {"metadata": {"name": "one-gpu", "namespace": "lab", "uid": UID, "generation": 1}})
    world.run_to_end()
    assert world.condition("Complete")[0] == "True"


@pytest.mark.parametrize(
    ("value", "change", "result"),
    [
        ({"a": 1, "b": 2}, {"b": None, "c": {"d": None, "e": 3}}, {"a": 1, "c": {"e": 3}}),
        ([{"name": "x", "a": 1}, {"name": "y"}], [{"name": "x", "a": 2}], [{"name": "x", "a": 2}, {"name": "y"}]),
        ({"a": [1, 2]}, {"a": [3]}, {"a": [3]}),
    ],
)
def test_an_overlay_replaces_removes_and_merges_by_name(value, change, result):
    assert merge(value, change) == result


def test_an_overlay_for_an_item_that_the_sample_lacks_is_an_error():
    with pytest.raises(KeyError, match="no item named z"):
        merge([{"name": "x"}], [{"name": "z"}])
