"""Benchmarks of coding: HumanEval, MBPP and LiveCodeBench.

Sources of the protocols: SLIT-AI/FuseChat-3.0, FuseEval/Code-Eval/eval_plus (model.py, test.sh) and
FuseEval/Code-Eval/LiveCodeBench (lcb_runner/prompts/code_generation.py, lcb_runner/runner/parser.py, test.sh).

The texts that end a response are those of eval_plus without the special tokens: a server does not return them.
"""

from dataclasses import replace
from datetime import date

from fusionrun.api.spec.evaluation import BenchmarkPreset, Grader
from fusionrun.api.spec.target import Family
from fusionrun.api.tasks.protocol import Layout, PromptForm
from fusionrun.plan.benchmarks.preset import BenchmarkData, greedy, sampled

_FENCE = "```"

_HUMAN_EVAL = BenchmarkData(
    protocol="FuseEval/HumanEval",
    folder="human-eval",
    layout=Layout.EVAL_PLUS,
    grader=Grader.EVAL_PLUS,
    form=PromptForm(
        template="Please provide a self-contained Python script that solves the following problem in a markdown code "
        f"block:\n{_FENCE}\n{{prompt}}\n{_FENCE}\n",
        prefill="Below is a Python script with a self-contained function that solves the problem and passes "
        f"corresponding tests:\n{_FENCE}python\n",
    ),
    forms={
        Family.QWEN_2_5: PromptForm(
            system="You are an intelligent programming assistant to produce Python algorithmic solutions",
            template=f"Can you complete the following Python function?\n{_FENCE}python\n{{prompt}}\n{_FENCE}\n",
            prefill=f"{_FENCE}python\n",
        )
    },
    sampling=greedy(2048),
    stop=("\nif __name__", "\ndef main(", "\nprint(", "\n#", f"\n{_FENCE}"),
    metrics=("base", "plus"),
    licence="MIT; tests of EvalPlus: Apache-2.0",
    data="HumanEvalPlus.jsonl.gz of evalplus/humanevalplus_release (v0.1.10)",
    questions=164,
    source="SLIT-AI/FuseChat-3.0: FuseEval/Code-Eval/eval_plus/{model.py,generate.py,test.sh}",
)

_ROLE = (
    "You will be given a question (problem specification) and will generate a correct Python program that matches the "
    "specification and passes all tests. You will NOT return anything except for the program."
)
_SYSTEM = f"You are an expert Python programmer. {_ROLE}"

PRESETS = {
    BenchmarkPreset.HUMAN_EVAL: _HUMAN_EVAL,
    BenchmarkPreset.MBPP: replace(
        _HUMAN_EVAL,
        protocol="FuseEval/MBPP",
        folder="mbpp",
        licence="CC-BY-4.0; tests of EvalPlus: Apache-2.0",
        data="MbppPlus.jsonl.gz of evalplus/mbppplus_release (v0.1.0)",
        questions=399,
    ),
    BenchmarkPreset.LIVE_CODE_BENCH: BenchmarkData(
        protocol="FuseEval/LiveCodeBench",
        folder="live-code-bench",
        layout=Layout.LIVE_CODE_BENCH,
        grader=Grader.LIVE_CODE_BENCH,
        form=PromptForm(system=_SYSTEM),
        forms={
            Family.GEMMA_2: PromptForm(template=f"{_SYSTEM}\n{{prompt}}"),
            # The layout has the parts of {prompt} for other headings. The line break at the start is FuseEval's.
            Family.QWEN_2_5: PromptForm(
                system="You are a helpful assistant.",
                template=f"\n{_ROLE}\n\nQuestion: {{question}}\n\n{{format}}",
            ),
        },
        sampling=sampled(0.2, 0.95, 2000),
        stop=("###",),
        samples=10,
        # Source: the paper's table, "LiveCodeBench 2408-2411". The released script starts on 2024-06-30, without end.
        window=(date(2024, 8, 1), date(2024, 11, 30)),
        licence="MIT (code); problems by LeetCode, AtCoder and Codeforces",
        data="livecodebench/code_generation_lite on the hub",
        hub="hf://livecodebench/code_generation_lite",
        source="SLIT-AI/FuseChat-3.0: FuseEval/Code-Eval/LiveCodeBench/lcb_runner",
    ),
}
