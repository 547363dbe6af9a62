"""Open the protocol of a judged benchmark with its materials."""

from pathlib import Path

from fusionrun.api.spec.evaluation import Grader
from fusionrun.api.tasks.protocol import Protocol
from fusionrun_stages.judges.align_bench import AlignBench
from fusionrun_stages.judges.alpaca_eval import AlpacaEval
from fusionrun_stages.judges.arena_hard import ArenaHard
from fusionrun_stages.judges.mt_bench import MTBench
from fusionrun_stages.judges.protocol import JudgeProtocol
from fusionrun_stages.judges.rubric import Rubric


def open_judge(protocol: Protocol, materials: Path) -> JudgeProtocol:
    """Return the judge protocol of a benchmark.

    Parameters
    ----------
    protocol
        Its ``grader`` needs a judge.
    materials
        The folder with the files of this benchmark, from ``prepare``.

    Raises
    ------
    UserError
        If a file or a placeholder is missing or malformed.
    """
    match protocol.grader:
        case Grader.ALPACA_EVAL:
            return AlpacaEval(materials)
        case Grader.ARENA_HARD:
            return ArenaHard(materials)
        case Grader.MT_BENCH:
            return MTBench(materials)
        case Grader.ALIGN_BENCH:
            return AlignBench(materials)
        case Grader.RUBRIC:
            return Rubric(protocol.rubric)
        case _:
            raise ValueError(f"{protocol.grader} has no judge")
