"""How long the stages of the rehearsal take. The operator does not know these numbers: it uses its own estimates.

None was measured on GPUs. The estimates of the operator (docs/preflight.md) are 1.6 to 2.4 times as long for the
sources, and 0.06 to 0.14 times as long for the training, of which no step is measured here.
"""

import random

from fusionrun.api.stage import ReferenceKind
from fusionrun.plan.stages import Plan, Stage

HOUR = 3600.0
HOURS: dict[str, tuple[float, str]] = {
    "resolve": (0.02, "assumed"),
    "fetch/target": (0.03, "16 GB at 150 MB/s"),
    "fetch/reward": (0.03, "16 GB at 150 MB/s"),
    "fetch/gemma": (0.10, "54 GB at 150 MB/s"),
    "fetch/mistral": (0.45, "245 GB at 150 MB/s"),
    "fetch/qwen": (0.27, "145 GB at 150 MB/s"),
    "fetch/llama": (0.26, "141 GB at 150 MB/s"),
    "fetch/qwen-math": (0.27, "145 GB at 150 MB/s"),
    "prepare/prompts": (0.20, "assumed"),
    "prepare/benchmarks": (0.05, "assumed"),
    "preflight/publishing": (0.02, "assumed"),
    "preflight/training": (0.20, "assumed"),
    "preflight/reward": (0.05, "assumed"),
    "generate/gemma": (6.0, "assumed, on 2 GPUs"),
    "generate/mistral": (10.0, "assumed, on 8 GPUs"),
    "generate/qwen": (5.0, "assumed, on 8 GPUs: 2 replicas with 4 each"),
    "generate/llama": (8.0, "assumed, on 4 GPUs"),
    "generate/qwen-math": (4.0, "assumed, on 4 GPUs"),
    "generate/eval-": (1.0, "assumed, on 1 GPU: 14 benchmarks"),
    "verify/solutions": (0.10, "assumed"),
    "verify/": (0.50, "assumed"),
    "score/": (0.50, "assumed, on 8 GPUs: 8 pods"),
    "construct": (0.10, "assumed"),
    "sft": (6.0, "assumed, on 8 GPUs"),
    "dpo": (8.0, "assumed, on 8 GPUs"),
    "promote": (0.50, "assumed, on 1 GPU"),
    "judge/": (0.50, "assumed: an endpoint"),
    "evaluate/": (0.10, "assumed"),
    "compare": (0.02, "assumed"),
    "publish": (0.10, "assumed"),
}
"""Hours of work of each stage and their source: by its name or, if that is absent, by the longest start of its name."""
LOAD_HOURS: dict[str, tuple[float, str]] = {
    "serve/eval-": (0.05, "assumed: 8 billion parameters"),
    "serve/": (0.25, "assumed: 27 to 123 billion parameters"),
}
"""Hours from the start of a server's container to Ready."""
PARAMETERS = {
    "target.model": 8_030_000_000,
    "rewardModel.model": 7_510_000_000,
    "sources[gemma].served.model": 27_200_000_000,
    "sources[mistral].served.model": 122_600_000_000,
    "sources[qwen].served.model": 72_700_000_000,
    "sources[llama].served.model": 70_600_000_000,
    "sources[qwen-math].served.model": 72_700_000_000,
}
"""Parameters of the models, which ``resolve`` reports and the operator's estimate rests on. Source: the model cards."""
POD_START_SECONDS = 10.0
"""From the binding of a pod to the start of its program; images are on the nodes. Assumed."""
POD_STOP_SECONDS = 10.0
"""From the deletion of a server to the release of its GPUs. Assumed."""
JOB_SECONDS = 1.0
"""From the end of the last pod to the completion of its Job: measured on a control plane (docs/benchmarks.md)."""


def model_sizes(plan: Plan) -> dict[str, list[int]]:
    """Return the fields of the result of ``resolve`` on the models of a plan."""
    sizes = [PARAMETERS[r.field] for r in plan.references if r.kind is ReferenceKind.MODEL]
    return {"parameters": sizes, "weights_bytes": [2 * size for size in sizes]}


class Times:
    """The times of the stages of one run. Each is multiplied or divided by a random factor up to ``error``."""

    def __init__(self, error: float = 1.0, seed: int = 0) -> None:
        self._error, self._seed = error, seed

    def work(self, stage: Stage) -> float:
        """Return the seconds of work of a stage that is not a server, with all of its pods."""
        return self._of(stage.name, HOURS)

    def load(self, server: Stage) -> float:
        """Return the seconds from the start of a server's container to Ready."""
        return self._of(server.name, LOAD_HOURS)

    def _of(self, name: str, table: dict[str, tuple[float, str]]) -> float:
        start = max((key for key in table if name.startswith(key)), key=len)
        factor = self._error ** random.Random(f"{self._seed} {name}").uniform(-1, 1)
        return table[start][0] * HOUR * factor
