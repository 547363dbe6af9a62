"""AlpacaEval 2: 805 instructions with the answers of the baseline GPT-4 Turbo.

Source: tatsu-lab/alpaca_eval on the hub (``alpaca_eval_gpt4_baseline.json``, ``df_gamed.csv``) and on GitHub (the
template of the judge). ``index`` of a question is its position in the file, from 0: ``df_gamed.csv`` refers to it
(alpaca_eval/metrics/glm_winrate.py).
"""

from collections.abc import Iterator

from fusionrun.api.tasks.parameters import DatasetParameters
from fusionrun_stages.benchmarks.item import Item, Opened, optional_text, required_text
from fusionrun_stages.benchmarks.source import Source
from fusionrun_stages.errors import UserError
from fusionrun_stages.prompts.bad_rows import BadRowError, RawRow
from fusionrun_stages.prompts.dataset_files import DataFile, read_raw_rows

COLUMNS = ["instruction", "output", "generator"]
GAMED_COLUMNS = ["preference", "index", "std_delta_len", "instruction_difficulty", "not_gamed_baseline", "model"]
JUDGE, GAMED = "judge.txt", "gamed.csv"
HUB = "tatsu-lab/alpaca_eval on the hub"
CONFIGS = "github.com/tatsu-lab/alpaca_eval, src/alpaca_eval/evaluators_configs/alpaca_eval_clf_gpt4_turbo"


def open_alpaca_eval(source: Source, _: DatasetParameters) -> Opened:
    """Open the answers of the baseline, the template of the judge, and the judgements of the gamed models."""
    questions = source.find("alpaca_eval_gpt4_baseline.json", "*_baseline.json", "*_baseline.jsonl", origin=HUB)
    judge = source.find("alpaca_eval_clf.txt", JUDGE, origin=CONFIGS)
    gamed = source.find("df_gamed.csv", GAMED, origin=HUB)
    files = source.data_files([questions], COLUMNS)
    difficulties = read_difficulties(source.data_files([gamed], GAMED_COLUMNS))
    return Opened(lambda: numbered(files), lambda raw: read(raw, difficulties), materials={JUDGE: judge, GAMED: gamed})


def numbered(files: list[DataFile]) -> Iterator[tuple[str, RawRow | BadRowError]]:
    """Yield the rows with their ``index``; a row that cannot be read has one, too."""
    for index, (where, row) in enumerate(read_raw_rows(files)):
        yield where, row if isinstance(row, BadRowError) else row | {"index": index}


def read_difficulties(files: list[DataFile]) -> dict[int, float]:
    """Return the difficulty of every instruction by its index: the first row of an index counts."""
    difficulties: dict[int, float] = {}
    for where, row in read_raw_rows(files):
        if isinstance(row, BadRowError):
            raise UserError(f"{where}: {row}")
        try:
            difficulties.setdefault(int(row["index"]), float(row["instruction_difficulty"]))
        except (KeyError, TypeError, ValueError) as error:
            raise UserError(f"{where}: 'index' and 'instruction_difficulty' must be numbers") from error
    return difficulties


def read(raw: RawRow, difficulties: dict[int, float]) -> Item:
    """Return an instruction with the baseline's answer."""
    index = raw["index"]
    if index not in difficulties:
        raise BadRowError("no instruction_difficulty in df_gamed.csv", f"index {index}")
    return Item(
        text=required_text(raw, "instruction", "instruction"),
        key=str(index),
        group=optional_text(raw, "dataset"),
        references=[required_text(raw, "output", "output")],
        data={
            "index": index,
            "difficulty": difficulties[index],
            "generator": optional_text(raw, "generator"),
            "dataset": optional_text(raw, "dataset"),
        },
    )
