"""What has to run: demand goes backwards from what the run is for, and stops at what is complete."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fusionrun.api.spec import FusionRunSpec
from fusionrun.api.stage import StageKind
from fusionrun.plan.build import build_plan
from fusionrun.plan.defaults import fill
from fusionrun.plan.graph import needed
from support.properties import quick
from support.runs import CLAIM, make_spec

PLAN = build_plan(
    fill(
        FusionRunSpec.model_validate(
            make_spec(
                target={"family": "Llama3", "model": {"uri": "hf://org/target"}},
                publish={"uri": f"pvc://{CLAIM}/out"},
            )
        )
    )
)
NAMES = [s.name for s in PLAN.stages]
ARTIFACTS = [s.name for s in PLAN.stages if s.traits.has_artifact]
completes = st.frozensets(st.sampled_from(ARTIFACTS))


def without(*prefixes: str) -> frozenset[str]:
    return frozenset(n for n in ARTIFACTS if not n.startswith(prefixes))


def test_with_nothing_complete_everything_runs():
    assert needed(PLAN, frozenset()) == frozenset(NAMES)


def test_with_everything_complete_only_what_reports_runs():
    run = needed(PLAN, frozenset(ARTIFACTS))
    assert run == {"resolve", "construct", "evaluate/base", "evaluate/sft", "evaluate/final"}


def test_a_lost_dpo_repeats_no_generation():
    run = needed(
        PLAN, without("dpo", "promote", "publish", "generate/eval-final", "verify/eval-final", "evaluate/final")
    )
    assert run == {
        "resolve", "construct", "dpo", "promote", "publish", "evaluate/base", "evaluate/sft",
        "serve/eval-final", "generate/eval-final", "verify/eval-final.coding", "evaluate/final",
    }  # fmt: skip


def test_a_lost_model_is_not_fetched_for_nothing():
    assert "fetch/target" not in needed(PLAN, without("fetch/"))
    assert "fetch/target" in needed(PLAN, without("fetch/", "sft", "dpo", "promote"))
    assert "fetch/target" in needed(PLAN, without("fetch/", "generate/eval-base", "evaluate/base"))


def test_one_lost_source_asks_that_source_alone():
    run = needed(PLAN, without("generate/ada", "verify/ada", "score/ada", "construct"))
    assert {"serve/ada", "generate/ada", "score/ada", "construct"} <= run
    assert not {n for n in run if "bob" in n}


@quick
@given(completes)
def test_nothing_that_is_complete_is_made_again(complete):
    made = {n for n in needed(PLAN, complete) if not PLAN[n].traits.report}
    assert not made & complete


@quick
@given(completes)
def test_whatever_runs_finds_what_it_reads(complete):
    run = needed(PLAN, complete)
    for name in run - complete:
        assert set(PLAN[name].inputs) <= run | complete, name
        assert PLAN[name].server is None or PLAN[name].server in run, name


@quick
@given(completes)
def test_a_server_runs_only_for_a_generation_that_runs(complete):
    run = needed(PLAN, complete)
    asked = {PLAN[n].server for n in run}
    assert all(n in asked for n in run if PLAN[n].kind is StageKind.SERVE)


@quick
@given(completes)
def test_everything_that_runs_is_wanted_by_an_end_or_by_another(complete):
    run = needed(PLAN, complete)
    for name in run - {"resolve"}:
        stage = PLAN[name]
        users = [s for s in PLAN.stages if name in (*s.inputs, *s.after, s.server)]
        assert not users or stage.traits.is_goal or any(s.name in run - complete for s in users), name


@quick
@given(completes, st.sampled_from(ARTIFACTS))
def test_more_that_is_complete_never_means_more_work(complete, another):
    assert needed(PLAN, complete | {another}) <= needed(PLAN, complete)


@pytest.mark.parametrize("end", ["publish", "promote"])
def test_the_end_of_a_run_is_made_even_when_all_else_is_complete(end):
    assert end in needed(PLAN, without(end))
