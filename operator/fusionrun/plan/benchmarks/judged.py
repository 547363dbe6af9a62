"""Benchmarks that a model judges: AlpacaEval 2, Arena-Hard, MT-Bench and AlignBench.

Sources of the protocols: SLIT-AI/FuseChat-3.0, FuseEval/IF-Eval. The texts for the judge are in the files of the
benchmarks: they are not repeated here.

The released generation of AlpacaEval and Arena-Hard renders Llama's prompts without a date, which the own template of
Llama 3.1 and 3.2 adds; the base model is measured with its own template. MT-Bench's official generation runs the
model with transformers, which may add the nucleus of the model's own generation config; here top-p is 1.
"""

from fusionrun.api.spec.evaluation import BenchmarkPreset, Grader
from fusionrun.api.spec.target import Family
from fusionrun.api.tasks.protocol import Aggregation, JudgeRequest, Layout, PromptForm, Unit
from fusionrun.plan.benchmarks.preset import LLAMA, QWEN_SYSTEM, BenchmarkData, greedy, sampled

_QWEN = {Family.QWEN_2_5: PromptForm(system=QWEN_SYSTEM)}

PRESETS = {
    BenchmarkPreset.ALPACA_EVAL_2: BenchmarkData(
        protocol="FuseEval/AlpacaEval2",
        folder="alpaca-eval-2",
        layout=Layout.ALPACA_EVAL,
        grader=Grader.ALPACA_EVAL,
        forms=_QWEN,
        # Source: configs/{llama-3,qwen25,gemma-2}-alpacaeval.yaml. ``vllm_local.py`` does not pass on their penalties.
        sampling=sampled(0.6, 0.9, 4096),
        samplings={
            **dict.fromkeys(LLAMA, sampled(0.6, 0.9, 4096)),
            Family.QWEN_2_5: sampled(0.7, 0.8, 4096, top_k=20),
            Family.GEMMA_2: sampled(0.5, 1.0, 4096),
        },
        metrics=("lengthControlledWinRate", "winRate"),
        aggregation=Aggregation.LENGTH_CONTROLLED,
        judge=JudgeRequest(temperature=1.0, max_tokens=1, top_logprobs=5, model="gpt-4-1106-preview"),
        licence="CC-BY-NC-4.0",
        data="alpaca_eval_gpt4_baseline.json and df_gamed.csv of tatsu-lab/alpaca_eval on the hub, and "
        "alpaca_eval_clf.txt of the package alpaca-eval",
        questions=805,
        source="SLIT-AI/FuseChat-3.0: FuseEval/IF-Eval/AlpacaEval-2",
    ),
    BenchmarkPreset.ARENA_HARD: BenchmarkData(
        protocol="FuseEval/ArenaHard",
        folder="arena-hard",
        layout=Layout.ARENA_HARD,
        grader=Grader.ARENA_HARD,
        forms=_QWEN,
        sampling=greedy(4096),
        metrics=("winRate",),
        judge=JudgeRequest(temperature=0.0, max_tokens=4096, model="gpt-4-1106-preview"),
        licence="Apache-2.0",
        data="question.jsonl and the answers of gpt-4-0314 of lmarena/arena-hard-auto (v0.1), and "
        "judge_configs/judge_config.yaml of FuseEval/IF-Eval/Arena-Hard",
        questions=500,
        source="SLIT-AI/FuseChat-3.0: FuseEval/IF-Eval/Arena-Hard/{gen_judgment,show_result,utils_math}.py",
    ),
    BenchmarkPreset.MT_BENCH: BenchmarkData(
        protocol="FuseEval/MTBench",
        folder="mt-bench",
        layout=Layout.MT_BENCH,
        grader=Grader.MT_BENCH,
        sampling=sampled(0.7, 1.0, 1024),
        temperatures={
            "writing": 0.7,
            "roleplay": 0.7,
            "extraction": 0.0,
            "math": 0.0,
            "coding": 0.0,
            "reasoning": 0.0,
            "stem": 0.1,
            "humanities": 0.1,
        },
        unit=Unit.RATING,
        judge=JudgeRequest(temperature=0.0, max_tokens=2048, model="gpt-4-0125-preview"),
        licence="Apache-2.0",
        data="question.jsonl, the reference answers and judge_prompts.jsonl of lm-sys/FastChat (fastchat/llm_judge/"
        "data)",
        questions=80,
        turns=2,
        source="SLIT-AI/FuseChat-3.0: FuseEval/IF-Eval/MT-Bench/{gen_model_answer,gen_judgment,common}.py",
    ),
    BenchmarkPreset.ALIGN_BENCH: BenchmarkData(
        protocol="FuseEval/AlignBench",
        folder="align-bench",
        layout=Layout.ALIGN_BENCH,
        grader=Grader.ALIGN_BENCH,
        sampling=sampled(0.1, 1.0, 4096),
        temperatures={
            "专业能力": 0.1,
            "数学计算": 0.1,
            "基本任务": 0.1,
            "逻辑推理": 0.1,
            "中文理解": 0.1,
            "文本写作": 0.7,
            "角色扮演": 0.7,
            "综合问答": 0.7,
        },
        aggregation=Aggregation.GROUP_MEANS,
        unit=Unit.RATING,
        judge=JudgeRequest(temperature=0.0, model="gpt-4"),
        licence="none stated",
        data="data_v1.1_release.jsonl and the folder config of THUDM/AlignBench",
        questions=683,
        source="SLIT-AI/FuseChat-3.0: FuseEval/IF-Eval/AlignBench/{get_answers,judge,show_result}.py",
    ),
}
