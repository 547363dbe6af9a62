"""Render invented questions with the prompts of FuseEval, by its own functions.

``main(["--repo", FOLDER])`` reads FOLDER, a checkout of github.com/SLIT-AI/FuseChat-3.0, and writes
``tests/stages/benchmarks/official_prompts.json``: for each case the row in the form of its owners, the form of the
protocol, and the user message, prefill and gold answer that FuseEval's functions give. Only these functions are run,
without the packages that their modules import.
"""

import argparse
import ast
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

OUTPUT = Path(__file__).parents[2] / "tests/stages/benchmarks/official_prompts.json"

CHOICE = (
    "Please read the following multiple-choice questions and provide the most likely correct answer based on the "
    "options given.\nQuestion:\n{prompt}\nOptions:\n{options}\n- For simple problems:\nDirectly provide the answer "
    "with minimal explanation.\n\n- For complex problems:\nUse this step-by-step format:\n## Step 1: "
    "[Concise description]\n[Brief explanation]\n## Step 2: [Concise description]\n[Brief explanation]\n\n"
    "Regardless of the approach, always conclude with:\nThe best answer is [the_answer_letter].\nwhere the "
    "[the_answer_letter] is the correct letter choice.\n\nAnswer: Let's think step by step."
)
QWEN_PROBLEM = (
    "You will be given a question (problem specification) and will generate a correct Python program that matches the "
    "specification and passes all tests. You will NOT return anything except for the program.\n\n"
    "Question: {question}\n\n{format}"
)
PROGRAM = {
    "template": "Please provide a self-contained Python script that solves the following problem in a markdown code "
    "block:\n```\n{prompt}\n```\n",
    "prefill": "Below is a Python script with a self-contained function that solves the problem and passes "
    "corresponding tests:\n```python\n",
}

QUESTIONS = [
    ("Which {prompt} is a gull?", ["The {options}", "A tern", "A\nskua", "None"], 2),
    ("Which is 1 + 1?\n", ["2", "3"], 0),
    (" Was ist eine Möwe? \n\nOne line more.", ["ein Vogel", "ein Fisch", "N/A", "N/A"], 1),
]
SOLUTIONS = [
    r"First \boxed{1}, then $\boxed{\frac{1}{2}}$.",
    r"So $x = \boxed 7$ or so.",
    r"It is \boxed{\left\{1, \frac{2}{3}\right\}} at last.",
    r"\fbox{9} is not it, \boxed{a + \sqrt{b}.}",
    "It is \\boxed{1,\n  2}.",
    r"It is \boxed{\text{east}} of here",
    r"An open \boxed{3 + \frac{1}{2",
]
STARTER = "class Solution:\n    def twice(self, n: int) -> int:\n        "
PROBLEM = "Print {n} twice.\n\nInput\n\nOne number."


def defined(path: Path, names: list[str], given: dict[str, Any]) -> dict[str, Any]:
    """Return functions, classes and constants of a module without running the rest of it."""
    wanted = []
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        targets = [t.id for t in node.targets if isinstance(t, ast.Name)] if isinstance(node, ast.Assign) else []
        if getattr(node, "name", None) in names or set(targets) & set(names):
            wanted.append(node)
    space = dict(given)
    exec(compile(ast.Module(wanted, []), str(path), "exec"), space)
    return space


def choice(folder: Path) -> Iterator[dict[str, Any]]:
    """Yield the prompts of multiple choice."""
    names = ["choices", "preprocess", "format_cot_example", "generate_cot_prompt"]
    official = defined(
        folder / "General-Eval/MC-Eval/evaluate_from_local.py", names, {"args": SimpleNamespace(zero_shot=True)}
    )
    for number, (question, options, index) in enumerate(QUESTIONS):
        (row,) = official["preprocess"]([{"question": question, "options": list(options)}])
        prompt, letter = official["generate_cot_prompt"](None, row, 5), official["choices"][index]
        pro = {"question_id": number, "question": question, "options": options, "answer": letter, "category": "birds"}
        rows = {
            "MMLUPro": pro,
            "MMLU": {"question": question, "subject": "birds", "choices": options, "answer": index},
            "GPQA": {"Question": question, "options": options, "answer": index},
        }
        for layout, given in rows.items():
            yield {"layout": layout, "row": given, "form": {"template": CHOICE}, "prompt": prompt, "answer": letter}


def problems(folder: Path) -> Iterator[dict[str, Any]]:
    """Yield the prompts of LiveCodeBench."""
    names = [
        "PromptConstants",
        "get_generic_question_template_answer",
        "get_codeqwen_question_template_answer",
    ]
    path = folder / "Code-Eval/LiveCodeBench/lcb_runner/prompts/code_generation.py"
    official = defined(path, names, {"CodeGenerationProblem": object})
    for starter in ("", STARTER):
        case = json.dumps([{"input": "1", "output": "2", "testtype": "functional" if starter else "stdin"}])
        row = {
            "question_id": "q", "question_content": PROBLEM, "contest_date": "2024-09-01T00:00:00",
            "starter_code": starter, "public_test_cases": case, "private_test_cases": "[]", "metadata": "{}",
        }  # fmt: skip
        question = SimpleNamespace(question_content=PROBLEM, starter_code=starter)
        generic = official["get_generic_question_template_answer"](question)
        yield {"layout": "LiveCodeBench", "row": row, "form": {}, "prompt": generic}
        qwen = official["get_codeqwen_question_template_answer"](question).removesuffix(
            "<|im_end|>\n<|im_start|>assistant\n"
        )
        yield {"layout": "LiveCodeBench", "row": row, "form": {"template": QWEN_PROBLEM}, "prompt": qwen}


def programs(folder: Path) -> Iterator[dict[str, Any]]:
    """Yield the prompts of HumanEval and MBPP."""
    names = ["instruction_prefix", "response_prefix", "_MAGIC_SPLITTER_", "make_raw_chat_prompt"]
    official = defined(folder / "Code-Eval/eval_plus/model.py", names, {})
    seen: list[Any] = []

    def record(messages: list[dict[str, str]], **_: Any) -> str:
        seen[:] = [message["content"] for message in messages]
        return ""

    tokenizer = SimpleNamespace(chat_template="", apply_chat_template=record)
    for prompt in ("def twice(n):\n    '''Double {n}.'''\n", '"""\nWrite a function.\nassert twice(1) == 2\n"""\n'):
        texts = (official["instruction_prefix"], official["response_prefix"])
        official["make_raw_chat_prompt"](prompt.strip(), *texts, tokenizer)
        row = {
            "task_id": "HumanEval/0", "prompt": prompt, "entry_point": "twice",
            "canonical_solution": "    return 2 * n", "base_input": [[1]], "plus_input": [[2]], "atol": 0,
        }  # fmt: skip
        prefill = seen[1].split(official["_MAGIC_SPLITTER_"])[0]
        yield {"layout": "EvalPlus", "row": row, "form": PROGRAM, "prompt": seen[0], "prefill": prefill}


def golds(folder: Path) -> Iterator[dict[str, Any]]:
    """Yield the gold answers of MATH before they are normalized."""
    unchanged: Callable[..., str] = lambda text, **_: text  # noqa: E731 -- in place of strip_string
    given = {"re": re, "strip_string": unchanged, "choice_answer_clean": unchanged}
    official = defined(folder / "Math-Eval/parser.py", ["extract_answer"], given)
    for solution in SOLUTIONS:
        answer = official["extract_answer"](solution, "math")
        yield {"layout": "MATH", "row": {"problem": "Solve.", "solution": solution}, "form": {}, "answer": answer}


def main(arguments: list[str]) -> None:
    """Write the cases."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repo", type=Path, required=True, help="checkout of github.com/SLIT-AI/FuseChat-3.0")
    folder = parser.parse_args(arguments).repo / "FuseEval"
    cases = [case for make in (choice, problems, programs, golds) for case in make(folder)]
    OUTPUT.write_text(json.dumps(cases, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
    print(f"{OUTPUT.name}: {len(cases)} cases")
