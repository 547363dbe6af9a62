"""LiveBench, in its release of 2024-08-31.

Source of the protocol: SLIT-AI/FuseChat-3.0, FuseEval/General-Eval/LiveBench (run.sh, livebench/gen_model_answer.py).
The score is the mean of six categories, each the mean of its tasks.
"""

from fusionrun.api.spec.evaluation import BenchmarkPreset, Grader
from fusionrun.api.tasks.protocol import Aggregation, Layout
from fusionrun.plan.benchmarks.preset import BenchmarkData, greedy

PRESETS = {
    BenchmarkPreset.LIVE_BENCH: BenchmarkData(
        protocol="FuseEval/LiveBench-0831",
        folder="live-bench",
        layout=Layout.LIVE_BENCH,
        grader=Grader.LIVE_BENCH,
        sampling=greedy(4096),
        aggregation=Aggregation.GROUP_MEANS,
        licence="Apache-2.0 (code); see the cards of the six data sets",
        data="livebench/{coding,data_analysis,instruction_following,math,reasoning,language} on the hub, each in a "
        "subfolder of this name",
        source="SLIT-AI/FuseChat-3.0: FuseEval/General-Eval/LiveBench/{run.sh,livebench}",
    ),
}
