"""Benchmarks of mathematics: GSM8K, MATH and AMC 23.

Source of the protocol: SLIT-AI/FuseChat-3.0, FuseEval/Math-Eval (utils.py: the prompts ``qwen25-math-cot``,
``llama3-math-cot`` and ``gemma2-math-cot``; sh/eval_fuse.sh; math_eval.py: 2,048 tokens), which is the harness of
QwenLM/Qwen2.5-Math. Greedy decoding without examples. A truncated response with a boxed answer counts.
"""

from dataclasses import replace

from fusionrun.api.spec.evaluation import BenchmarkPreset, Grader
from fusionrun.api.spec.target import Family
from fusionrun.api.tasks.protocol import Layout, PromptForm
from fusionrun.plan.benchmarks.preset import BenchmarkData, greedy

_INSTRUCTION = r"Please reason step by step, and put your final answer within \boxed{}."

_GSM8K = BenchmarkData(
    protocol="FuseEval/GSM8K",
    folder="gsm8k",
    layout=Layout.GSM8K,
    grader=Grader.QWEN_MATHEMATICS,
    form=PromptForm(system=_INSTRUCTION),
    forms={Family.GEMMA_2: PromptForm(template=f"{{prompt}}\n{_INSTRUCTION}")},
    sampling=greedy(2048),
    licence="MIT",
    data="openai/gsm8k on the hub, configuration `main`",
    questions=1_319,
    hub="hf://openai/gsm8k",
    source="SLIT-AI/FuseChat-3.0: FuseEval/Math-Eval/{utils,math_eval,parser,grader}.py",
)

PRESETS = {
    BenchmarkPreset.GSM8K: _GSM8K,
    BenchmarkPreset.MATH: replace(
        _GSM8K,
        protocol="FuseEval/MATH",
        folder="math",
        layout=Layout.MATH,
        data="math/test.jsonl of QwenLM/Qwen2.5-Math (evaluation/data), from hendrycks/math",
        questions=5_000,
        hub=None,
    ),
    BenchmarkPreset.AMC_23: replace(
        _GSM8K,
        protocol="FuseEval/AMC23",
        folder="amc-23",
        layout=Layout.AMC_23,
        licence="none stated",
        data="amc23/test.jsonl of QwenLM/Qwen2.5-Math (evaluation/data)",
        questions=40,
        hub=None,
    ),
}
