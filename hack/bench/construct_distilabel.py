"""The rules of construct as steps of distilabel, for comparison. Same inputs, same rows.

``python hack/bench/construct_distilabel.py TASK.json``, in a separate environment (``pip install distilabel``). A
generator step reads the shards, joins each with its scores and verdicts (by pyarrow, since distilabel has no join) and
yields a row per prompt; a step applies the rules; distilabel's step formats the pairs. The splits need all prompts and
follow the pipeline, with the same seeded hash.
"""

import json
import sys
from collections import defaultdict
from decimal import Decimal
from hashlib import blake2b
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from distilabel.pipeline import Pipeline
from distilabel.steps import FormatTextGenerationDPO, GeneratorStep, Step, StepInput
from pydantic import PrivateAttr

MICRO = 1_000_000
KEY = ["prompt_id", "source", "sample_index"]
BATCH = 1000


class ReadShards(GeneratorStep):
    """Yield each prompt with all its usable responses.

    Output columns: name, dataset, task, instruction, responses.
    """

    task_path: str
    _parameters: dict = PrivateAttr()

    def load(self) -> None:
        super().load()
        self._parameters = json.loads(Path(self.task_path).read_text())["parameters"]

    @property
    def outputs(self) -> list[str]:
        return ["name", "dataset", "task", "instruction", "responses"]

    def process(self, offset: int = 0):  # noqa: ARG002
        files = sorted(Path(self._parameters["promptsDir"]).glob("*.parquet"))
        for number, file in enumerate(files):
            rows = list(self._read(file))
            starts = range(0, len(rows), BATCH)
            for start in starts:
                yield rows[start : start + BATCH], number == len(files) - 1 and start == starts[-1]

    def _read(self, file: Path):
        answers = defaultdict(list)
        for source in self._parameters["sources"]:
            columns = [*KEY, "text", "finish_reason"]
            responses = pq.read_table(Path(source["responsesDir"]) / file.name, columns=columns)
            scores = pq.read_table(Path(source["scoresDir"]) / file.name, columns=[*KEY, "score_micro"])
            joined = responses.join(scores, KEY, join_type="left outer")
            for folder in source["verdictsDirs"]:
                verdicts = pq.read_table(Path(folder) / file.name, columns=[*KEY, "verdict"])
                joined = joined.join(verdicts, KEY, join_type="left outer")
            for row in joined.to_pylist():
                usable = row["finish_reason"] == "stop" and row["text"].strip() and row["score_micro"] is not None
                if usable:
                    answers[row["prompt_id"]].append(row)
        for prompt in pq.read_table(file, columns=["prompt_id", "dataset", "task", "prompt"]).to_pylist():
            # distilabel's formatting step writes the columns prompt_id and prompt.
            instruction, name = prompt.pop("prompt"), prompt.pop("prompt_id")
            yield prompt | {"name": name, "instruction": instruction, "responses": answers[name]}


class Choose(Step):
    """Choose the best response and the pair, prompt by prompt.

    Input columns: task, responses. Output columns: row, generations, ratings, scores, source.
    """

    low: int
    high: int

    @property
    def inputs(self) -> list[str]:
        return ["task", "responses"]

    @property
    def outputs(self) -> list[str]:
        return ["row", "generations", "ratings", "scores", "source"]

    def process(self, inputs: StepInput):
        for prompt in inputs:
            task, responses = prompt["task"], prompt.pop("responses")
            chosen = responses if task == "Instruction" else [r for r in responses if r["verdict"] == "right"]
            rejected = responses if task == "Instruction" else [r for r in responses if r["verdict"] == "wrong"]
            best = min(chosen, key=lambda r: (-r["score_micro"], r["source"], r["sample_index"]), default=None)
            pairs = []
            for source in {r["source"] for r in chosen}:
                top = min(
                    (r for r in chosen if r["source"] == source), key=lambda r: (-r["score_micro"], r["sample_index"])
                )
                rest = [r for r in rejected if r["source"] == source and r["sample_index"] != top["sample_index"]]
                if rest:
                    bottom = min(rest, key=lambda r: (r["score_micro"], r["sample_index"]))
                    if task == "Coding" or self.low <= top["score_micro"] - bottom["score_micro"] <= self.high:
                        pairs.append((top, bottom))
            pair = min(pairs, key=lambda p: (-p[0]["score_micro"], p[0]["source"]), default=None)
            prompt["row"] = best and [best["source"], best["text"]]
            # The formatting step requires two generations, also without a pair, and sorts them by ratings. A right
            # program may have a lower score than a wrong one.
            prompt["generations"] = [r["text"] for r in pair] if pair else ["", ""]
            prompt["ratings"] = [1, 0]
            prompt["scores"] = [r["score_micro"] for r in pair] if pair else None
            prompt["source"] = pair and pair[0]["source"]
        yield inputs


def take(names: list[str], fraction: float, seed: int, purpose: str) -> list[str]:
    """Take a fraction of the prompts by the rank of a seeded hash, as construct does."""
    ranked = sorted(names, key=lambda n: (blake2b(f"{purpose}\0{seed}\0{n}".encode(), digest_size=8).digest(), n))
    return ranked[: int(Decimal(str(fraction)) * len(ranked))]


def main(task_path: str) -> None:
    parameters = json.loads(Path(task_path).read_text())["parameters"]
    margin = parameters["rewardMargin"]
    low, high = round(margin["min"] * MICRO), round(margin["max"] * MICRO)
    with Pipeline(name="construct") as pipeline:
        read = ReadShards(task_path=task_path, batch_size=BATCH)
        choose = Choose(low=low, high=high, input_batch_size=BATCH)
        read >> choose >> FormatTextGenerationDPO(input_batch_size=BATCH)
    rows = pipeline.run(use_cache=False)["default"]["train"].to_list()
    rows.sort(key=lambda row: row["name"])
    seed = parameters["seed"]
    to_sft = set()
    for dataset in {row["dataset"] for row in rows}:
        names = [r["name"] for r in rows if r["dataset"] == dataset and r["task"] == "Instruction" and r["source"]]
        to_sft |= set(take(names, parameters["sftFraction"], seed, "sft"))
    sft, pairs = [], []
    for row in rows:
        first = row["name"] in to_sft
        to_row = {"Instruction": first, "Mathematics": not row["source"], "Coding": True}[row["task"]]
        prompt = [{"role": "user", "content": row["instruction"]}]
        keys = {"prompt_id": row["name"], "dataset": row["dataset"]}
        if row["row"] and to_row:
            source, text = row["row"]
            sft.append(keys | {"source": source, "messages": [*prompt, {"role": "assistant", "content": text}]})
        if row["source"] and not first:
            pairs.append(
                keys
                | {
                    "source": row["source"],
                    "prompt": prompt,
                    "chosen": row["chosen"][1:],
                    "rejected": row["rejected"][1:],
                }
                | {"chosen_score_micro": row["scores"][0], "rejected_score_micro": row["scores"][1]}
            )
    held = set(take([row["prompt_id"] for row in pairs], parameters["heldOutFraction"], seed, "held-out"))
    folder = Path(task_path).parent / "distilabel"
    folder.mkdir(exist_ok=True)
    parts = {
        "sft": [row for row in sft if row["prompt_id"] not in held],
        "pairs": [row for row in pairs if row["prompt_id"] not in held],
        "held-out": [row for row in pairs if row["prompt_id"] in held],
    }
    for name, part in parts.items():
        pq.write_table(pa.Table.from_pylist(part), folder / f"{name}.parquet", compression="zstd")


if __name__ == "__main__":
    main(sys.argv[1])
