"""From the response to the program: the text after the prefilled beginning, up to the end of its block."""

from fusionrun_stages.grading.eval_plus.sanitize import sanitize

FENCE = "```"


def read_program(prefill: str | None, text: str, entry_point: str) -> str:
    """Return the program of a response.

    If the prefilled beginning opens a block, the text up to the next fence is the program; the model may go on after
    it. Otherwise the longest valid code is searched for in the whole text.

    Notes
    -----
    Source: FuseEval, Code-Eval/eval_plus/generate.py and model.py (tabs, fence), test.sh (``evalplus.sanitize``).
    """
    text = text.replace("\t", "    ")
    if (prefill or "").count(FENCE) % 2:
        text = text.split(FENCE, 1)[0]
    return sanitize(text, entry_point)
