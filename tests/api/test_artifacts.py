"""Where things lie on the volume, and what their digests depend on."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fusionrun.api import artifacts
from support.properties import quick

segments = st.lists(st.text("abc.-_ ", min_size=1, max_size=6).filter(lambda s: s != ".."), min_size=1, max_size=5)
keys = st.text("aé語", max_size=3)
values = st.none() | st.booleans() | st.integers() | keys
nested = values | st.lists(values, max_size=3) | st.dictionaries(keys, values, max_size=3)


def test_a_claims_path_is_the_path_in_a_pod():
    assert artifacts.claim_path("pvc://fusion-data/models/ada") == "/data/models/ada"


@pytest.mark.parametrize(
    "uri",
    [
        "pvc://c/../etc",
        "pvc://c/a/../../etc",
        "pvc://c/a/..",
        "pvc://c",
        "pvc://c/",
        "hf://org/name",
        "s3://bucket/key",
        "/etc/passwd",
        "",
    ],
)
def test_a_path_that_leaves_the_claim_or_is_none_is_refused(uri):
    with pytest.raises(ValueError, match="is not pvc://claim/path"):
        artifacts.claim_path(uri)


@quick
@given(segments)
def test_no_path_leads_out_of_the_volume(parts):
    path = artifacts.claim_path("pvc://claim/" + "/".join(parts))
    assert path.startswith(artifacts.MOUNT_PATH)
    assert ".." not in path.split("/")
    assert "//" not in path


def test_an_indexed_artifact_is_complete_by_one_manifest_per_shard():
    assert artifacts.manifest_paths("/a", 2) == ["/a/manifests/00000-of-00002.json", "/a/manifests/00001-of-00002.json"]
    assert artifacts.manifest_paths("/a", None) == ["/a/manifest.json"]


@quick
@given(st.dictionaries(keys, nested, max_size=4))
def test_the_order_of_keys_changes_no_digest(parameters):
    backwards = dict(reversed(parameters.items()))
    assert artifacts.parameters_digest("sft", 1, parameters) == artifacts.parameters_digest("sft", 1, backwards)


@pytest.mark.parametrize(
    ("kind", "version", "parameters"),
    [("dpo", 1, {"a": 1}), ("sft", 2, {"a": 1}), ("sft", 1, {"a": 2}), ("sft", 1, {})],
    ids=["kind", "version", "value", "absent"],
)
def test_a_digest_changes_with_each_of_its_parts(kind, version, parameters):
    assert artifacts.parameters_digest(kind, version, parameters) != artifacts.parameters_digest("sft", 1, {"a": 1})


def test_the_order_of_inputs_and_of_pins_counts():
    digest = artifacts.stage_digest("p", ["a", "b"], ["c"])
    assert digest == artifacts.stage_digest("p", iter(["a", "b"]), iter(["c"]))
    assert digest != artifacts.stage_digest("p", ["b", "a"], ["c"])
    assert digest != artifacts.stage_digest("p", ["a"], ["b", "c"])
    assert len(digest) == artifacts.DIGEST_LENGTH


def test_what_resolve_must_not_trust_is_not_in_a_path():
    assert artifacts.artifact_dir("dpo", "0" * 20) == f"/data/fusionrun/artifacts/dpo/{'0' * 20}"
    assert artifacts.model_dir("ab12") == "/data/fusionrun/models/ab12"
    assert artifacts.shard_name(3, 8) == "00003-of-00008"
