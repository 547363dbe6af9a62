"""Invented rows in the formats of the data sets that tasks of lm-eval read."""

import random
from collections.abc import Callable
from typing import Any

WORDS = "the a cat dog river number seven blue stone moves quickly under an old bridge while rain falls".split()  # noqa: SIM905 -- readable
SPLITS = ("train", "validation", "test", "dev")
ROWS = 12
CATEGORIES = (
    "biology", "business", "chemistry", "computer science", "economics", "engineering", "health", "history", "law",
    "math", "other", "philosophy", "physics", "psychology",
)  # fmt: skip
"""Those of MMLU-Pro, each a task of lm-eval."""
COUNTS = {"TIGER-Lab/MMLU-Pro": 7 * len(CATEGORIES)}
"""Rows of the data sets that need more: five examples per category."""

Rows = random.Random


def text(rnd: Rows, words: int = 8) -> str:
    """Return words without a meaning."""
    return " ".join(rnd.choice(WORDS) for _ in range(words))


def _gsm8k(rnd: Rows, _: int, __: str | None) -> dict[str, Any]:
    return {"question": f"{text(rnd)}?", "answer": f"{text(rnd)} #### {rnd.randint(0, 3)}"}


def _arc(rnd: Rows, number: int, _: str | None) -> dict[str, Any]:
    choices = {"text": [text(rnd, rnd.randint(1, 4)) for _ in range(4)], "label": list("ABCD")}
    return {"id": str(number), "question": f"{text(rnd)}?", "choices": choices, "answerKey": rnd.choice("ABCD")}


def _hellaswag(rnd: Rows, number: int, _: str | None) -> dict[str, Any]:
    endings = [text(rnd, rnd.randint(2, 6)) for _ in range(4)]
    context = {"activity_label": text(rnd, 2), "ctx_a": text(rnd), "ctx_b": text(rnd, 3), "ctx": text(rnd)}
    return {"ind": number, **context, "endings": endings, "label": str(rnd.randint(0, 3))}


def _winogrande(rnd: Rows, _: int, __: str | None) -> dict[str, Any]:
    options = {"option1": "cat", "option2": "dog", "answer": rnd.choice("12")}
    return {"sentence": f"{text(rnd, 3)} _ {text(rnd, 4)}", **options}


def _mmlu_pro(rnd: Rows, number: int, _: str | None) -> dict[str, Any]:
    return {
        "question_id": number,
        "question": f"{text(rnd)}?",
        "options": [text(rnd, 2) for _ in range(rnd.randint(3, 10))],
        "answer": rnd.choice("ABC"),
        "answer_index": 0,
        "cot_content": f"A: Let's think step by step. {text(rnd)} The answer is (A).",
        "category": CATEGORIES[number % len(CATEGORIES)],
        "src": "",
    }


def _mmlu(rnd: Rows, _: int, subject: str | None) -> dict[str, Any]:
    choices = [text(rnd, 2) for _ in range(4)]
    return {"question": f"{text(rnd)}?", "subject": subject, "choices": choices, "answer": rnd.randint(0, 3)}


def _super_glue(rnd: Rows, number: int, _: str | None) -> dict[str, Any]:
    return {"question": text(rnd), "passage": text(rnd, 20), "idx": number, "label": rnd.randint(0, 1)}


def _truthful_qa(rnd: Rows, _: int, __: str | None) -> dict[str, Any]:
    one = {"choices": [text(rnd, 3) for _ in range(4)], "labels": [1, 0, 0, 0]}
    two = {"choices": [text(rnd, 3) for _ in range(4)], "labels": [1, 1, 0, 0]}
    return {"question": f"{text(rnd)}?", "mc1_targets": one, "mc2_targets": two}


def _trivia_qa(rnd: Rows, _: int, __: str | None) -> dict[str, Any]:
    answer = {"value": rnd.choice(WORDS), "aliases": [rnd.choice(WORDS), rnd.choice(WORDS)]}
    return {"question": f"{text(rnd)}?", "answer": answer}


def _lambada(rnd: Rows, _: int, __: str | None) -> dict[str, Any]:
    return {"text": text(rnd, 12)}


DATASETS: dict[str, Callable[[Rows, int, str | None], dict[str, Any]]] = {
    "openai/gsm8k": _gsm8k,
    "allenai/ai2_arc": _arc,
    "Rowan/hellaswag": _hellaswag,
    "allenai/winogrande": _winogrande,
    "TIGER-Lab/MMLU-Pro": _mmlu_pro,
    "cais/mmlu": _mmlu,
    "aps/super_glue": _super_glue,
    "truthfulqa/truthful_qa": _truthful_qa,
    "mandarjoshi/trivia_qa": _trivia_qa,
    "EleutherAI/lambada_openai": _lambada,
}


def load_dataset(path: str, name: str | None = None, **_: Any) -> Any:
    """Return the invented rows of a data set, in place of ``datasets.load_dataset``."""
    import datasets  # noqa: PLC0415

    rnd, make = random.Random(f"{path} {name}"), DATASETS[path]
    rows = {split: [make(rnd, number, name) for number in range(COUNTS.get(path, ROWS))] for split in SPLITS}
    return datasets.DatasetDict({split: datasets.Dataset.from_list(found) for split, found in rows.items()})
