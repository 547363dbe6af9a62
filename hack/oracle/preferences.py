"""Compare the requests and the preferences of AlpacaEval 2 with alpaca-eval's, on invented outputs and replies.

``main`` runs this file with another Python that has alpaca-eval 0.6.6, and writes the inputs and the official results
to ``tests/stages/judges/preferences.json``.
"""

# ruff: noqa: PLC0415 (the packages and the path of the official code are in another Python)
import json
import random
import sys
import tempfile
from pathlib import Path

FIXTURE = Path(__file__).parents[2] / "tests/stages/judges/preferences.json"
TEMPLATE = """<|im_start|>system
Select the better output.
<|im_end|>
<|im_start|>user
{
    "instruction": \"\"\"{instruction}\"\"\",
    "m": \"\"\"{output_1}\"\"\",
    "M": \"\"\"{output_2}\"\"\"
}
Answer m or M.
<|im_end|>"""
TOKENS = ("m", "M", "Both", " m", "the")


def make_rows(chance, count):
    """Invent instructions with the outputs of a baseline and a model, and the first tokens of the reply."""
    rows = []
    for number in range(count):
        baseline = f'Output {number} {{with}} "braces"\n'
        tokens = chance.sample(TOKENS, k=chance.randint(0, 4)) if number % 5 == 0 else TOKENS
        rows.append(
            {
                "instruction": f"Instruction {number}: näme {chance.randint(0, 10**6)}.",
                "baseline": baseline,
                "output": baseline if number % 11 == 10 else f"Text {number}",
                "logprobs": {token: round(-abs(chance.gauss(0, 4)), 6) for token in tokens},
            }
        )
    rows[1]["logprobs"] = {"m": -0.000001, "M": -60.5}
    return rows


def main(arguments):
    """Make the fixture."""
    from oracle.official import read_arguments, run_official

    arguments = read_arguments(arguments, __doc__)

    given = {"template": TEMPLATE, "rows": make_rows(random.Random(5), 60)}
    made = run_official(arguments.python, __file__, given)
    for row, (messages, preference) in zip(given["rows"], made, strict=True):
        row.update(messages=messages, preference=preference)
    FIXTURE.write_text(json.dumps(given, indent=0, ensure_ascii=False) + "\n", encoding="utf-8")
    print(f"{len(given['rows'])} rows: {FIXTURE}")


def official():
    """Read inputs from standard input, and print the official results as one line of JSON."""
    import pandas as pd
    from alpaca_eval import utils
    from alpaca_eval.annotators.pairwise_evaluator import SinglePairwiseAnnotator

    given = json.load(sys.stdin)
    by_instruction = {row["instruction"]: row for row in given["rows"]}
    sent = {}

    def complete(prompts, **_):
        replies = []
        for prompt in prompts:
            messages = utils.prompt_to_chatml(prompt.strip())
            name = next(name for name in by_instruction if name in prompt)
            sent[name] = messages
            tokens = [{"token": k, "logprob": v} for k, v in by_instruction[name]["logprobs"].items()]
            replies.append({"text": "", "logprobs": {"content": [{"top_logprobs": tokens}]}})
        return {"completions": [""] * len(prompts), "completions_all": replies}

    frame = pd.DataFrame(
        {
            "instruction": [row["instruction"] for row in given["rows"]],
            "output_1": [row["baseline"] for row in given["rows"]],
            "output_2": [row["output"] for row in given["rows"]],
        }
    )
    same = frame["output_1"] == frame["output_2"]  # PairwiseAnnotator gives 1.5 to these and does not judge them
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "template.txt"
        path.write_text(given["template"], encoding="utf-8")
        annotator = SinglePairwiseAnnotator(
            prompt_template=path,
            fn_completion_parser="logprob_parser",
            completion_parser_kwargs={
                "numerator_token": "m",
                "denominator_tokens": ["m", "M"],
                "is_binarize": False,
            },
            fn_completions=complete,
            completion_key="completions_all",
            seed=0,  # PairwiseAnnotator's
        )
        judged = annotator(frame[~same])
    preferences = dict.fromkeys(frame["instruction"][same], 1.5)
    preferences |= dict(zip(judged["instruction"], judged["preference"], strict=True))  # without those that have none
    print(json.dumps([[sent.get(name), preferences.get(name)] for name in frame["instruction"]]))


if __name__ == "__main__":
    official()
