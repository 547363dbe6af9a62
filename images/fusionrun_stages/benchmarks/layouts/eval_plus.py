"""HumanEval and MBPP with the tests of EvalPlus.

Source: evalplus/evalplus, ``HumanEvalPlus.jsonl.gz`` and ``MbppPlus.jsonl.gz`` of its releases (humanevalplus_release,
mbppplus_release); SLIT-AI/FuseChat-3.0, FuseEval/Code-Eval/eval_plus/data, has them without ``.gz``.
"""

from fusionrun.api.tasks.parameters import DatasetParameters
from fusionrun_stages.benchmarks.item import Item, Opened, required_text
from fusionrun_stages.benchmarks.source import Source
from fusionrun_stages.prompts.bad_rows import BadRowError, RawRow
from fusionrun_stages.prompts.dataset_files import GZIP, read_raw_rows

COLUMNS = ["task_id", "prompt", "entry_point", "canonical_solution", "base_input", "plus_input"]
KEPT = (*COLUMNS, "atol", "contract", "assertion")
"""Columns that ``data`` of a question has, under their own names and as they are."""
NAMES = {"humaneval": "HumanEvalPlus", "mbpp": "MbppPlus"}
"""Start of the file's name by the protocol's name."""


def open_eval_plus(source: Source, dataset: DatasetParameters) -> Opened:
    """Open the file of the benchmark that the name of the protocol ends with."""
    short = dataset.protocol.name.rpartition("/")[2].lower() if dataset.protocol else ""
    names = [start for name, start in NAMES.items() if short.startswith(name)] or [*NAMES.values()]
    patterns = [f"{name}*.jsonl{suffix}" for name in names for suffix in ("", GZIP)]
    if source.path.is_file():
        patterns.append("*")
    path = source.find(*patterns, origin=f"github.com/evalplus ({' or '.join(names)} releases)")
    files = source.data_files([path], COLUMNS)
    return Opened(lambda: read_raw_rows(files), read)


def read(raw: RawRow) -> Item:
    """Return a problem; raise BadRowError if it has no inputs of the base tests.

    Mbpp/793 has ``{}`` in place of an empty list of further inputs.
    """
    base, plus = raw.get("base_input"), raw.get("plus_input") or []
    if not isinstance(base, list) or not base:
        raise BadRowError("no list of inputs in column 'base_input'")
    if not isinstance(plus, list):
        raise BadRowError("no list of inputs in column 'plus_input'")
    required_text(raw, "solution", "canonical_solution")
    return Item(
        text=required_text(raw, "prompt", "prompt").strip(),
        key=required_text(raw, "identifier", "task_id"),
        entry_point=required_text(raw, "entry point", "entry_point"),
        data={column: raw[column] for column in KEPT if column in raw} | {"plus_input": plus},
    )
