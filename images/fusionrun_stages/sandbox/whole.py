"""Judge a whole program: by its output for an input, or together with its tests in one process."""

from collections.abc import Callable, Sequence

from fusionrun.api.records import VerdictValue
from fusionrun_stages.grade import Grade, right, unusable, wrong
from fusionrun_stages.sandbox.forms import Pair, is_same_output
from fusionrun_stages.sandbox.harness import Outcome, unless_ended
from fusionrun_stages.sandbox.proxies import NotPlainError, ProgramGoneError, RemoteProgram
from fusionrun_stages.sandbox.steps import describe
from fusionrun_stages.sandbox.wire import FRAME_MAX_BYTES

SHOWN_CHARACTERS = 100


def check_output(program: RemoteProgram, code: str, pair: Pair, preamble: str) -> Outcome:
    """Run a program with a standard input; compare what it prints."""
    if max(map(len, pair)) * 6 > FRAME_MAX_BYTES:  # JSON needs up to 6 bytes per character
        return Outcome(unusable("an input or output is too long"))

    def ask() -> Grade:
        printed = program.ask({"program": code, "preamble": preamble, "stdin": pair.stdin}).get("stdout")
        if not isinstance(printed, str):
            return wrong("ended: its reply is not valid")
        if is_same_output(pair.stdout, printed):
            return right()
        return wrong(f"failed: it prints {printed[:SHOWN_CHARACTERS]!r} for {pair.stdin[:SHOWN_CHARACTERS]!r}")

    return Outcome(_guarded(program, ask))


def check_together(
    program: RemoteProgram, code: str, tests: Sequence[str], entry_point: str | None, preamble: str
) -> Outcome:
    """Run a program and its tests in its own process. It may lie: never take its word for a right verdict."""

    def ask() -> Grade:
        request = {"program": code, "preamble": preamble, "tests": list(tests), "entry_point": entry_point}
        reply = program.ask(request)
        known = {str(value): value for value in VerdictValue}
        verdict = known.get(str(reply.get("together")), VerdictValue.UNKNOWN)
        return Grade(verdict, str(reply.get("detail", ""))[:SHOWN_CHARACTERS])

    return Outcome(_guarded(program, ask))


def _guarded(program: RemoteProgram, ask: Callable[[], Grade]) -> Grade:
    try:
        return ask()
    except (ProgramGoneError, NotPlainError):
        return unless_ended(program, wrong())
    except Exception as error:  # noqa: BLE001 (the program may raise anything)
        return unless_ended(program, wrong(f"raised: {describe(error)}"))
