"""The stages that must run: the goals, and recursively what they need, up to complete artifacts."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fusionrun.api.stage import StageKind
from fusionrun.plan.graph import needed
from support.plans import plan_of
from support.properties import quick
from support.runs import CLAIM

PLAN = plan_of(target={"family": "Llama3", "model": {"uri": "hf://org/target"}}, publish={"uri": f"pvc://{CLAIM}/out"})
NAMES = [s.name for s in PLAN.stages]
ARTIFACTS = [s.name for s in PLAN.stages if s.traits.has_artifact]
completes = st.frozensets(st.sampled_from(ARTIFACTS))


def without(*prefixes: str) -> frozenset[str]:
    return frozenset(n for n in ARTIFACTS if not n.startswith(prefixes))


def test_with_nothing_complete_everything_runs():
    assert needed(PLAN, frozenset()) == frozenset(NAMES)


def test_with_everything_complete_only_stages_with_a_report_run():
    run = needed(PLAN, frozenset(ARTIFACTS))
    assert run == {"resolve", "construct", "evaluate/base", "evaluate/sft", "evaluate/final", "compare"}


def test_a_lost_dpo_repeats_no_generation():
    lost = {"dpo", "promote", "publish", "generate/eval-final", "verify/eval-final.coding", "evaluate/final", "compare"}
    run = needed(PLAN, without(*lost))
    assert run == lost | {"resolve", "construct", "evaluate/base", "evaluate/sft", "serve/eval-final"}


def test_a_lost_model_is_fetched_only_if_a_stage_reads_it():
    assert "fetch/target" not in needed(PLAN, without("fetch/"))
    assert "fetch/target" in needed(PLAN, without("fetch/", "sft", "dpo", "promote"))
    assert "fetch/target" in needed(PLAN, without("fetch/", "generate/eval-base", "evaluate/base"))


def test_a_lost_source_repeats_that_source_only():
    run = needed(PLAN, without("generate/ada", "verify/ada", "score/ada", "construct"))
    assert {"serve/ada", "generate/ada", "score/ada", "construct"} <= run
    assert not {n for n in run if "bob" in n}


@quick
@given(completes)
def test_a_complete_artifact_is_not_made_again(complete):
    made = {n for n in needed(PLAN, complete) if not PLAN[n].traits.report}
    assert not made & complete


@quick
@given(completes)
def test_every_input_of_a_stage_that_runs_is_complete_or_runs(complete):
    run = needed(PLAN, complete)
    for name in run - complete:
        assert set(PLAN[name].inputs) <= run | complete, name
        assert PLAN[name].server is None or PLAN[name].server in run, name


@quick
@given(completes)
def test_a_server_runs_only_for_a_generation_that_runs(complete):
    run = needed(PLAN, complete)
    used = {PLAN[n].server for n in run}
    assert all(n in used for n in run if PLAN[n].kind is StageKind.SERVE)


@quick
@given(completes)
def test_every_stage_that_runs_is_a_goal_or_needed_by_another(complete):
    run = needed(PLAN, complete)
    for name in run - {"resolve"}:
        stage = PLAN[name]
        users = [s for s in PLAN.stages if name in (*s.inputs, *s.after, s.server)]
        assert not users or stage.traits.is_goal or any(s.name in run - complete for s in users), name


@quick
@given(completes, st.sampled_from(ARTIFACTS))
def test_more_complete_artifacts_never_mean_more_stages(complete, another):
    assert needed(PLAN, complete | {another}) <= needed(PLAN, complete)


@pytest.mark.parametrize("end", ["publish", "promote"])
def test_a_goal_runs_even_if_everything_else_is_complete(end):
    assert end in needed(PLAN, without(end))
