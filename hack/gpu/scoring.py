"""The reward path: the stage ``score`` on responses of many lengths; some of its scores beside those on the CPU."""

import json
import sys
import time
from pathlib import Path

from fusionrun.api.records import Prompt, Response, Score
from fusionrun.api.task import StageTask
from fusionrun_stages import score
from fusionrun_stages.pod.gpus import require_gpus
from fusionrun_stages.reward.model import LoadedRewardModel
from fusionrun_stages.volume.parquet import read_rows, write_rows
from fusionrun_stages.volume.paths import shard_path
from fusionrun_stages.work import Work
from gpu.architecture import REAL, SMALL, texts, write_language_model
from gpu.training import peak

COMPARED = 8
"""Responses that are also scored on the CPU, in float32."""


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
            "responsesDir": str(folder / "responses"), "shards": 1, "batchSize": 16, "maxLength": 4096,
        },
    )  # fmt: skip
    require_gpus(task.gpus)
    moments = []
    started = time.monotonic()
    score.run(
        Work(
            task=task, output=output, shard=0, pod_uid="check", report=lambda *_, **__: moments.append(time.monotonic())
        )
    )
    peak_bytes = peak(cuda)
    rows = list(read_rows(shard_path(output / "scores", 0, 1), Score))
    # The first report is before the first batch, the second after it: the first batch allocates.
    seconds = moments[-1] - moments[1] if len(moments) > 2 else moments[-1] - started
    reference = LoadedRewardModel(str(model), "cpu", trust_remote_code=False)
    by_id = {row.prompt_id: row.score_micro for row in rows}
    shortest = sorted(zip(ids, drawn, strict=True), key=lambda each: len(each[1][1]))[:COMPARED]
    expected = reference.score([reference.encode(p, a) for _, (p, a) in shortest])
    differences = [abs(by_id[i] - e) / 1e6 for (i, _), e in zip(shortest, expected, strict=True) if i in by_id]
    spread = max(expected) - min(expected)
    figures = {
        "responses_per_second": len(rows) / seconds if seconds else 0.0,
        "tokens_per_second": sum(len(p) + len(a) for p, a in drawn) / seconds if seconds else 0.0,
        "largest_difference_from_float32": max(differences, default=float("nan")),
        "spread_of_scores": spread / 1e6,
        "peak_gib": peak_bytes / 2**30,
    }
    problem = "" if len(rows) == len(drawn) else f"{len(rows)} of {len(drawn)} responses have a score"
    if not problem and not max(differences) <= 0.2 * spread / 1e6:
        problem = "the scores differ from those in float32 by more than a fifth of their spread"
    (folder / "result.json").write_text(json.dumps({"figures": figures, "problem": problem}))


if __name__ == "__main__":
    main()
