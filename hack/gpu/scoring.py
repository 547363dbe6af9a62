"""The reward path: the stage ``score`` on responses of many lengths; some of its scores beside those on the CPU.

The limits of a batch are the defaults of a run.
"""

import json
import math
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fusionrun.api.records import Prompt, Response, Score
from fusionrun.api.spec.reward import RewardModel
from fusionrun.api.tasks.task import StageTask
from fusionrun_stages import score
from fusionrun_stages.pod.gpus import require_gpus
from fusionrun_stages.reward.model import LoadedRewardModel
from fusionrun_stages.volume.parquet import read_rows, write_rows
from fusionrun_stages.volume.paths import shard_path
from fusionrun_stages.work import Work
from gpu.architecture import REAL, SMALL, texts, write_language_model
from gpu.training import flops_per_token, parameter_count, peak

COMPARED = 8
"""Responses that are also scored on the CPU, in float32."""
LIMITS = RewardModel.model_construct()
"""The defaults of a run."""


@dataclass(frozen=True)
class Report:
    """A report of progress: the stage makes one before the first batch, and one after each."""

    moment: float
    done: int
    """Responses with a score."""


@dataclass(frozen=True)
class Rates:
    """What the stage did per second."""

    responses: float
    tokens: float
    """Tokens of the conversations, without padding."""
    flops: float


def rates(reports: Sequence[Report], lengths: Sequence[int], config: dict[str, Any], parameters: int) -> Rates:
    """Return the rates after the first batch, which allocates; over all batches if there is one only.

    ``lengths`` has the tokens of every conversation. The stage scores the longest first. With one batch there are two
    reports. The embeddings are a look-up, and compute nothing.
    """
    start = reports[1] if len(reports) > 2 else reports[0]
    seconds = reports[-1].moment - start.moment or math.inf  # nothing was scored: main reports it
    counted = sorted(lengths, reverse=True)[start.done :]
    computing = parameters - config["vocab_size"] * config["hidden_size"]
    shape = config["num_hidden_layers"], config["hidden_size"]
    flops = sum(length * flops_per_token("score", computing, *shape, length) for length in counted)
    return Rates(len(counted) / seconds, sum(counted) / seconds, flops / seconds)


def main() -> None:
    """Write FOLDER/result.json."""
    folder, cuda, tiny = Path(sys.argv[1]), sys.argv[2] == "cuda", sys.argv[3] == "tiny"
    sizes = SMALL if tiny else REAL
    model = write_language_model(folder / "reward", sizes.reward_model, head=True)
    drawn = texts(sizes.conversations, sizes, seed=1)
    ids = [f"{number:016x}" for number in range(len(drawn))]
    prompts = [
        Prompt(prompt_id=i, dataset="d", task="Instruction", prompt=p) for i, (p, _) in zip(ids, drawn, strict=True)
    ]
    responses = [
        Response(prompt_id=i, dataset="d", source="s", sample_index=0, text=a, finish_reason="stop")
        for i, (_, a) in zip(ids, drawn, strict=True)
    ]
    write_rows(shard_path(folder / "prompts", 0, 1), Prompt, prompts)
    write_rows(shard_path(folder / "responses", 0, 1), Response, responses)
    output = folder / "scores"
    output.mkdir()
    task = StageTask(
        run="check", namespace="check", stage="score/s", digest="d", output_dir=str(output), shards=1, gpus=int(cuda),
        parameters={
            "kind": "score", "source": "s", "modelPath": str(model), "promptsDir": str(folder / "prompts"),
            "responsesDir": str(folder / "responses"), "shards": 1, "batchSize": LIMITS.batch_size,
            "maxBatchTokens": LIMITS.max_batch_tokens, "maxLength": LIMITS.max_length,
        },
    )  # fmt: skip
    require_gpus(task.gpus)
    reports: list[Report] = []

    def report(done: int, *_: Any, **__: Any) -> None:
        reports.append(Report(time.monotonic(), done))

    score.run(Work(task=task, output=output, shard=0, pod_uid="check", report=report))
    peak_bytes = peak(cuda)
    rows = list(read_rows(shard_path(output / "scores", 0, 1), Score))
    reference = LoadedRewardModel(str(model), "cpu", trust_remote_code=False)
    by_id = {row.prompt_id: row.score_micro for row in rows}
    shortest = sorted(zip(ids, drawn, strict=True), key=lambda each: len(each[1][1]))[:COMPARED]
    expected = reference.score([reference.encode(p, a) for _, (p, a) in shortest])
    lengths = [len(reference.encode(prompt, answer)) for prompt, answer in drawn]
    config = json.loads((model / "config.json").read_text())
    rate = rates(reports, lengths, config, parameter_count(model))
    differences = [abs(by_id[i] - e) / 1e6 for (i, _), e in zip(shortest, expected, strict=True) if i in by_id]
    spread = max(expected) - min(expected)
    figures = {
        "responses_per_second": rate.responses,
        "tokens_per_second": rate.tokens,
        "largest_difference_from_float32": max(differences, default=float("nan")),
        "spread_of_scores": spread / 1e6,
        "peak_gib": peak_bytes / 2**30,
    }
    problem = "" if len(rows) == len(drawn) else f"{len(rows)} of {len(drawn)} responses have a score"
    if not problem and not max(differences) <= 0.2 * spread / 1e6:
        problem = "the scores differ from those in float32 by more than a fifth of their spread"
    (folder / "result.json").write_text(json.dumps({"figures": figures, "flops": rate.flops, "problem": problem}))


if __name__ == "__main__":
    main()
