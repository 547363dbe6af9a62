"""Benchmarks of multiple choice: MMLU-Pro, MMLU, MMLU-Redux and GPQA-Diamond.

Source of the protocol: SLIT-AI/FuseChat-3.0, FuseEval/General-Eval/MC-Eval (evaluate_from_local.py, test.sh with
``--chat_template --zero_shot``), which derives from TIGER-AI-Lab/MMLU-Pro. The instruction is that of Meta's evaluation
of Llama 3.1. One user message, greedy decoding, at most 2,048 tokens, and ``Question:`` as a stop text.

FuseEval removes the default system message of Qwen2.5's template. A request cannot: here, Qwen2.5 keeps it.
"""

from dataclasses import replace

from fusionrun.api.spec.evaluation import BenchmarkPreset, Grader
from fusionrun.api.tasks.protocol import Layout, PromptForm
from fusionrun.plan.benchmarks.preset import BenchmarkData, greedy

_TEMPLATE = """\
Please read the following multiple-choice questions and provide the most likely correct answer \
based on the options given.
Question:
{prompt}
Options:
{options}
- For simple problems:
Directly provide the answer with minimal explanation.

- For complex problems:
Use this step-by-step format:
## Step 1: [Concise description]
[Brief explanation]
## Step 2: [Concise description]
[Brief explanation]

Regardless of the approach, always conclude with:
The best answer is [the_answer_letter].
where the [the_answer_letter] is the correct letter choice.

Answer: Let's think step by step."""

_MMLU_PRO = BenchmarkData(
    protocol="FuseEval/MMLUPro",
    folder="mmlu-pro",
    layout=Layout.MMLU_PRO,
    grader=Grader.CHOICE,
    form=PromptForm(template=_TEMPLATE),
    sampling=greedy(2048),
    stop=("Question:",),
    licence="MIT",
    data="TIGER-Lab/MMLU-Pro on the hub",
    questions=12_032,
    hub="hf://TIGER-Lab/MMLU-Pro",
    source="SLIT-AI/FuseChat-3.0: FuseEval/General-Eval/MC-Eval/evaluate_from_local.py",
)

PRESETS = {
    BenchmarkPreset.MMLU_PRO: _MMLU_PRO,
    BenchmarkPreset.MMLU: replace(
        _MMLU_PRO,
        protocol="FuseEval/MMLU",
        folder="mmlu",
        layout=Layout.MMLU,
        data="cais/mmlu on the hub, configuration `all`",
        questions=14_042,
        hub="hf://cais/mmlu",
    ),
    # The paper's table has MMLU-redux; the released script reads MMLU. The protocol is the same.
    BenchmarkPreset.MMLU_REDUX: replace(
        _MMLU_PRO,
        protocol="FuseEval/MMLURedux",
        folder="mmlu-redux",
        layout=Layout.MMLU_REDUX,
        licence="CC-BY-4.0",
        data="edinburgh-dawg/mmlu-redux on the hub, or the CSV files of aryopg/mmlu-redux",
        questions=3_000,
        hub="hf://edinburgh-dawg/mmlu-redux",
    ),
    BenchmarkPreset.GPQA_DIAMOND: replace(
        _MMLU_PRO,
        protocol="FuseEval/GPQADiamond",
        folder="gpqa-diamond",
        layout=Layout.GPQA,
        licence="CC-BY-4.0; the owners ask that questions do not appear in public",
        data="FuseEval/General-Eval/MC-Eval/data/gpqa_formatted/diamond of SLIT-AI/FuseChat-3.0, which fixes the order "
        "of the options",
        questions=198,
        hub=None,
        shows_examples=False,
    ),
}
