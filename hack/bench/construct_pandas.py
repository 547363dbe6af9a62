"""The rules of construct, vectorised in pandas, for comparison. Same inputs, same rows.

``python hack/bench/construct_pandas.py TASK.json``. The whole data set is in memory, with the texts.
"""

import sys
from pathlib import Path

import numpy as np
import pandas as pd

from fusionrun.api.tasks.parameters import ConstructParameters
from fusionrun.api.tasks.task import decode_task
from fusionrun_stages.construction.split import hold_out, take

KEY = ["prompt_id", "source", "sample_index"]
MICRO = 1_000_000


def read(parameters: ConstructParameters) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the prompts, and the usable responses with their scores and verdicts."""
    prompts = pd.read_parquet(parameters.prompts_dir, columns=["prompt_id", "dataset", "prompt"])
    prompts["task"] = prompts["dataset"].map({name: str(task) for name, task in parameters.tasks.items()})
    parts = []
    for source in parameters.sources:
        responses = pd.read_parquet(source.responses_dir, columns=[*KEY, "text", "finish_reason"])
        responses = responses[(responses["finish_reason"] == "stop") & (responses["text"].str.strip() != "")]
        responses = responses.drop(columns="finish_reason")
        scores = pd.read_parquet(source.scores_dir, columns=[*KEY, "score_micro"])
        verdicts = [pd.read_parquet(folder, columns=[*KEY, "verdict"]) for folder in source.verdicts_dirs]
        joined = responses.merge(scores, on=KEY).merge(pd.concat(verdicts), on=KEY, how="left")
        parts.append(joined.merge(prompts[["prompt_id", "task", "dataset"]], on="prompt_id"))
    return prompts, pd.concat(parts, ignore_index=True)


def best(usable: pd.DataFrame) -> pd.DataFrame:
    """Return the response with the highest score of each prompt; ties by source, then sample."""
    ranked = usable.sort_values(
        ["prompt_id", "score_micro", "source", "sample_index"], ascending=[True, False, True, True]
    )
    return ranked.drop_duplicates("prompt_id")


def pair(chosen: pd.DataFrame, rejected: pd.DataFrame) -> pd.DataFrame:
    """Pair the highest with the lowest score of each prompt and source; ties by sample."""
    key = ["prompt_id", "source"]
    order = [*key, "score_micro", "sample_index"]
    high = chosen.sort_values(order, ascending=[True, True, False, True]).drop_duplicates(key)
    rest = rejected.merge(high[KEY], on=KEY, how="left", indicator=True)
    rest = rest[rest["_merge"] == "left_only"].drop(columns="_merge")
    low = rest.sort_values(order).drop_duplicates(key)
    return high.merge(low[[*key, "sample_index", "score_micro", "text"]], on=key, suffixes=("", "_low"))


def main(task_path: str) -> None:
    """Write the three files of construct."""
    task = decode_task(Path(task_path).read_bytes())
    parameters = task.parameters
    prompts, usable = read(parameters)
    chat = usable[usable["task"] == "Instruction"]
    right, wrong = usable[usable["verdict"] == "right"], usable[usable["verdict"] == "wrong"]
    pairs = pd.concat([pair(chat, chat), pair(right, wrong)])
    gap = pairs["score_micro"] - pairs["score_micro_low"]
    low, high = round(parameters.reward_margin.min * MICRO), round(parameters.reward_margin.max * MICRO)
    pairs = pairs[(pairs["task"] == "Coding") | gap.between(low, high)]
    pairs = pairs.sort_values(["prompt_id", "score_micro", "source"], ascending=[True, False, True])
    pairs = pairs.drop_duplicates("prompt_id")
    rows = best(pd.concat([chat, right]))
    paired = rows["prompt_id"].isin(pairs["prompt_id"])
    rows = rows[
        ((rows["task"] == "Instruction") & paired)
        | ((rows["task"] == "Mathematics") & ~paired)
        | (rows["task"] == "Coding")
    ]
    to_sft: set[str] = set()
    for _, group in rows[rows["task"] == "Instruction"].groupby("dataset"):
        to_sft |= set(take(group["prompt_id"].tolist(), parameters.sft_fraction, parameters.seed, "sft"))
    rows = rows[(rows["task"] != "Instruction") | rows["prompt_id"].isin(to_sft)]
    pairs = pairs[(pairs["task"] != "Instruction") | ~pairs["prompt_id"].isin(to_sft)]
    held = pairs["prompt_id"].isin(hold_out(pairs["prompt_id"].tolist(), parameters.held_out_fraction, parameters.seed))
    rows = rows[~rows["prompt_id"].isin(pairs["prompt_id"][held])]
    write(rows.merge(prompts[["prompt_id", "prompt"]]), pairs.merge(prompts[["prompt_id", "prompt"]]), held, task_path)


def write(rows: pd.DataFrame, pairs: pd.DataFrame, held: pd.Series, task_path: str) -> None:
    """Write the records that training reads, sorted by prompt."""
    folder = Path(task_path).parent / "pandas"
    folder.mkdir(exist_ok=True)
    messages = [
        [{"role": "user", "content": prompt}, {"role": "assistant", "content": text}]
        for prompt, text in zip(rows["prompt"], rows["text"], strict=True)
    ]
    rows = rows.assign(messages=messages).sort_values("prompt_id")
    rows[["prompt_id", "dataset", "source", "messages"]].to_parquet(folder / "sft.parquet", compression="zstd")
    pairs = pairs.assign(
        prompt=[[{"role": "user", "content": text}] for text in pairs["prompt"]],
        chosen=[[{"role": "assistant", "content": text}] for text in pairs["text"]],
        rejected=[[{"role": "assistant", "content": text}] for text in pairs["text_low"]],
        chosen_score_micro=pairs["score_micro"],
        rejected_score_micro=pairs["score_micro_low"],
    )
    columns = ["prompt_id", "dataset", "source", "prompt", "chosen", "rejected"]
    columns += ["chosen_score_micro", "rejected_score_micro"]
    where = np.asarray(held)
    for name, part in (("pairs", pairs[~where]), ("held-out", pairs[where])):
        part[columns].sort_values("prompt_id").to_parquet(folder / f"{name}.parquet", compression="zstd")


if __name__ == "__main__":
    main(sys.argv[1])
