"""From the response to the program."""

FENCE = "```"


def extract_code(text: str) -> str:
    """Return the lines between the first two lines with a fence; nothing if there are fewer than two.

    Notes
    -----
    Source: FuseEval, Code-Eval/LiveCodeBench/lcb_runner/utils/extraction_utils.py, ``extract_code``.
    """
    lines = text.split("\n")
    fences = [number for number, line in enumerate(lines) if FENCE in line]
    return "\n".join(lines[fences[0] + 1 : fences[1]]) if len(fences) > 1 else ""


def read_program(text: str, partial_solution: str | None = None) -> str:
    """Return the program of a response. LiveBench's completion tasks have its beginning.

    Notes
    -----
    Source: LiveBench, livebench/process_results/coding/utils.py.
    """
    code = extract_code(text)
    return f"{partial_solution}\n{code}" if partial_solution else code
