"""Compare the requests and the ratings of MT-Bench with the official code, on invented questions and judgements.

``main`` runs this file with another Python (openai) on a checkout of github.com/SLIT-AI/FuseChat-3.0, and writes the
inputs and the official results to ``tests/stages/judges/mt_bench.json``.
"""

# ruff: noqa: PLC0415 (the packages and the path of the official code are in another Python)
import json
import random
import sys
from pathlib import Path
from unittest.mock import MagicMock

FIXTURE = Path(__file__).parents[2] / "tests/stages/judges/mt_bench.json"
FOLDER = "FuseEval/IF-Eval/MT-Bench"
PROMPTS = {
    "single-v1": "Rate {{1 to 10}}.\nQ: {question}\nA: {answer}",
    "single-math-v1": "Compare.\nQ: {question}\nR: {ref_answer_1}\nA: {answer}",
    "single-v1-multi-turn": "Q1: {question_1}\nA1: {answer_1}\nQ2: {question_2}\nA2: {answer_2}",
    "single-math-v1-multi-turn": (
        "R1: {ref_answer_1}\nR2: {ref_answer_2}\nQ1: {question_1}\nA1: {answer_1}\nQ2: {question_2}\nA2: {answer_2}"
    ),
}
RATINGS = ("1", "5", "7.5", "10", "8.", "0", "6.25")
TEXTS = (
    "A short explanation.\nRating: [[{0}]]",
    "As in the example [[5]], my rating is [[{0}]].",
    "Source [2] helps, and the rating is [{0}].",
    "Rating: [{0}]",
    "Rating: {0}",
    "Rating: [[{0}/10]]",
    "Rating: [[ {0} ]] or [{0}]",
    "[[rating]] is missing.",
    "[[{0}]]\n[[3]]",
    "[[{0}",
    "",
    "In [2023] it was good.",
    "Rating: [[-{0}]]",
    "Rating: [[{0},{0}]]",
)


def make_questions(chance, count):
    """Invent questions of two turns with answers, and references for a third of them."""
    questions = []
    for number in range(count):
        question = {
            "turns": [f"Question {number} with {{answer}}?", f"And what of {number}?\n"],
            "answers": [f"Answer {number} {{question}}", f" Further {number}."],
            "judgements": [chance.choice(TEXTS).format(chance.choice(RATINGS)) for _ in range(2)],
        }
        if number % 3 == 0:
            question["references"] = [f"Reference {number}", f"Second {{ref_answer_1}} {number}"]
        questions.append(question)
    for number, text in enumerate(TEXTS):  # each style at least once
        questions[number]["judgements"][0] = text.format(RATINGS[number % len(RATINGS)])
    return questions


def main(arguments):
    """Make the fixture."""
    from oracle.official import read_arguments, run_official

    arguments = read_arguments(arguments, __doc__, "SLIT-AI/FuseChat-3.0")

    rows = [
        {"name": name, "type": "single", "system_prompt": f"You grade.{name[-4:]}\n\n", "prompt_template": text}
        for name, text in PROMPTS.items()
    ]
    given = {
        "prompts": [row | {"output_format": "[[rating]]"} for row in rows],
        "questions": make_questions(random.Random(8), 60),
    }
    made = run_official(arguments.python, __file__, given, str(arguments.repo.resolve() / FOLDER))
    for question, results in zip(given["questions"], made["results"], strict=True):
        question["official"] = results
    given["score"] = made["score"]
    FIXTURE.write_text(json.dumps(given, indent=0, ensure_ascii=False) + "\n", encoding="utf-8")
    print(f"{len(given['questions'])} questions: {FIXTURE}")


class Conversation:
    """What the official code needs of FastChat's conversations."""

    roles = ("user", "assistant")

    def __init__(self):
        self.sent = []

    def set_system_message(self, text):
        self.sent.append({"role": "system", "content": text})

    def append_message(self, role, text):
        if text is not None:
            self.sent.append({"role": role, "content": text})


def official(folder):
    """Read inputs from standard input, and print the official results as one line of JSON."""
    for name in ("anthropic", "fastchat", "fastchat.model", "fastchat.model.model_adapter"):
        sys.modules[name] = MagicMock()
    sys.path.insert(0, str(folder))
    import common

    given = json.load(sys.stdin)
    templates = {row["name"]: row for row in given["prompts"]}
    conversations, results = [], []
    common.get_conversation_template = lambda _: conversations.append(Conversation()) or conversations[-1]
    for question in given["questions"]:
        references = question.get("references")
        math = "-math" if references else ""
        answer = {"choices": [{"turns": question["answers"]}]}
        reference = {"choices": [{"turns": references}]} if references else None
        turns = []
        for turn, name in enumerate((f"single{math}-v1", f"single{math}-v1-multi-turn")):
            judge = common.Judge("gpt-4-0125-preview", templates[name], bool(references), turn == 1)
            text = question["judgements"][turn]
            common.chat_completion_openai = lambda *_, text=text, **__: text
            rating, _, _ = common.run_judge_single(question, answer, judge, reference, multi_turn=turn == 1)
            turns.append({"messages": conversations[-1].sent, "rating": rating})
        results.append(turns)
    # show_result.py drops -1 and takes the mean.
    ratings = [turn["rating"] for turns in results for turn in turns if turn["rating"] != -1]
    print(json.dumps({"results": results, "score": sum(ratings) / len(ratings)}))


if __name__ == "__main__":
    official(Path(sys.argv[1]))
