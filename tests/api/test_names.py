"""Names of the objects of a run are valid in Kubernetes for any name of the run."""

import re

from hypothesis import given
from hypothesis import strategies as st

from fusionrun import names
from support.properties import quick

DNS_1035 = re.compile(r"[a-z]([-a-z0-9]*[a-z0-9])?")
LABEL_VALUE = re.compile(r"[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?")

run_names = st.from_regex(r"[a-z0-9]([-a-z0-9.]{0,48}[a-z0-9])?", fullmatch=True)
stages = st.from_regex(r"(serve|generate|verify)/[a-z]([-a-z0-9]{0,22}[a-z0-9])?(\.coding)?", fullmatch=True)
digests = st.text("0123456789abcdef", min_size=names.DIGEST_LENGTH, max_size=20)


@quick
@given(run_names, stages, digests, st.integers(0, 99))
def test_an_object_name_is_a_dns_1035_label_of_at_most_50_characters(run, stage, digest, attempt):
    name = names.object_name(run, stage, digest, attempt)
    assert DNS_1035.fullmatch(name), name
    assert len(name) <= names.OBJECT_NAME_MAX
    assert digest[: names.DIGEST_LENGTH] in name


def test_the_longest_suffix_of_the_training_operator_fits_a_label():
    name = names.object_name("r" * 50, "sft", "0" * 10, 20)
    assert len(f"{name}-worker-999") <= 63


def test_the_name_of_a_retry_has_its_number():
    assert names.object_name("r", "sft", "0123456789") == "r-sft-0123456789"
    assert names.object_name("r", "sft", "0123456789", 2) == "r-sft-0123456789-r2"


@quick
@given(stages)
def test_a_label_identifies_its_stage(stage):
    label = names.stage_label(stage)
    assert LABEL_VALUE.fullmatch(label)
    assert len(label) <= 63
    assert names.stage_from_label(label) == stage


@quick
@given(st.lists(run_names, min_size=2, max_size=5, unique=True))
def test_no_two_runs_share_a_config_map(runs):
    found = [name(run) for run in runs for name in (names.spec_config_map, names.resolved_config_map)]
    assert len(set(found)) == len(found)


def test_a_digest_depends_on_where_its_parts_end():
    assert names.digest_of("ab", "c") != names.digest_of("a", "bc")
