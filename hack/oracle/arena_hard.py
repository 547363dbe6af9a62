"""Compare the games, verdicts, win rates and intervals of Arena-Hard with the official code, on invented judgements.

``main`` runs this file with another Python (scikit-learn below 1.8, pandas, tqdm, pyyaml, requests) on a checkout of
github.com/SLIT-AI/FuseChat-3.0, and writes the inputs and the official results to
``tests/stages/judges/arena_hard.json``.
"""

# ruff: noqa: PLC0415 (the packages and the path of the official code are in another Python)
import json
import random
import re
import sys
import tempfile
from pathlib import Path

FIXTURE = Path(__file__).parents[2] / "tests/stages/judges/arena_hard.json"
FOLDER = "FuseEval/IF-Eval/Arena-Hard"
BASELINE = "gpt-4-0314"
"""The bootstrap of the official code anchors the ratings only at this name."""

SETTINGS = {
    "judge_model": "invented",
    "pairwise": True,
    "temperature": 0,
    "max_tokens": 64,
    "number_of_judgment_attempts": 2,
    "system_prompt": "Compare two answers, and end with a label such as [[A=B]].",
    "prompt_template": ["Task {{given}}:\n{question_1}\n\nA:\n{answer_1}\n\nB:\n{answer_2}"],
}
LABELS = ("A>>B", "A>B", "A=B", "B>A", "B>>A")
TEXTS = (
    "Both answers were read. My final verdict is: [[{0}]]",
    "[[{0}]]\nI repeat the verdict: [[{0}]].",
    "First I thought of [[A=B]], now of [[{0}]].",
    "The verdict is [{0}], in single brackets.",
    "I cannot decide {{between}} the two.",
    "",
    "[[A<B]] is not one of the labels.",
    "The label [[{0}] is not closed.",
    "[[{0} ]] has a space.",
    "[[]] then [[{0}]]",
)


def make_case(chance, name, count, weights, clear, by_position=False):
    """Invent the replies to two games per question; ``clear`` of them have a plain verdict.

    ``weights`` are of the labels in the first game; in the second they are reversed, unless the judge looks only at the
    position (``by_position``).
    """
    questions = []
    for number in range(count):
        games = []
        for game in range(2):
            favoured = weights if game == 0 or by_position else weights[::-1]
            label = chance.choices(LABELS, favoured)[0]
            style = TEXTS[0] if chance.random() < clear else chance.choice(TEXTS)
            second = chance.choice(TEXTS).format(chance.choices(LABELS, weights)[0])
            games.append([style.format(label), second])
        questions.append({"question": f"Question {number} of {{answer_1}}?", "games": games})
    return {"name": name, "questions": questions}


def make_cases(chance):
    """Invent judges for weak, equal and strong models, with and without noise in the replies."""
    return [
        make_case(chance, "equal, clear verdicts", 25, (1, 2, 2, 2, 1), 1.0),
        make_case(chance, "weak", 25, (8, 4, 2, 1, 1), 0.8),
        make_case(chance, "strong", 40, (1, 1, 2, 5, 9), 0.8),
        make_case(chance, "noise", 40, (1, 1, 1, 1, 1), 0.0),
        make_case(chance, "always A", 12, (0, 1, 0, 0, 0), 1.0, by_position=True),
    ]


def main(arguments):
    """Make the fixture."""
    from oracle.official import read_arguments, run_official

    arguments = read_arguments(arguments, __doc__, "SLIT-AI/FuseChat-3.0")

    given = {"settings": SETTINGS, "cases": make_cases(random.Random(21))}
    made = run_official(arguments.python, __file__, given, str(arguments.repo.resolve() / FOLDER))
    for case, result in zip(given["cases"], made, strict=True):
        for question, games in zip(case["questions"], result.pop("games"), strict=True):
            question["official"] = games
        case.update(result)
    FIXTURE.write_text(json.dumps(given, indent=0, ensure_ascii=False) + "\n", encoding="utf-8")
    print(f"{len(given['cases'])} cases: {FIXTURE}")


def official(folder):
    """Read inputs from standard input, and print the official results as one line of JSON."""
    import numpy as np

    vars(np)["NAN"] = np.nan  # the official code is for numpy 1
    sys.path.insert(0, str(folder))
    import gen_judgment
    import show_result
    import utils_math

    given = json.load(sys.stdin)
    results = [official_case(case, given["settings"], gen_judgment, show_result, utils_math) for case in given["cases"]]
    print(json.dumps(results))


def official_case(case, settings, gen_judgment, show_result, utils_math):
    """Judge a case, and compute its win rate and interval."""
    import numpy as np
    import pandas as pd

    gen_judgment.endpoint_info = {"model_name": "invented"}
    rows, sent = [], []
    with tempfile.TemporaryDirectory() as folder:
        for number, question in enumerate(case["questions"]):

            def answer(_model, messages, *_, number=number, replies=question["games"]):
                attempt = sum(message["role"] == "assistant" for message in messages)
                game = (
                    0 if messages[1]["content"].index("first text") < messages[1]["content"].index("other text") else 1
                )
                sent.append([number, game, attempt, [dict(message) for message in messages]])
                return replies[game][attempt]

            gen_judgment.get_answer = answer
            output = Path(folder) / f"{number}.jsonl"
            gen_judgment.judgment(
                question={"question_id": number, "turns": [{"content": question["question"]}]},
                answer={"model_id": "model", "choices": [{"turns": [{"content": "other text {question_1}"}]}]},
                baseline_answer={"choices": [{"turns": [{"content": "first text"}]}]},
                reference=None,
                configs=settings,
                output_file=str(output),
                endpoint_dict=None,
                regex_pattern=re.compile(r"\[\[([AB<>=]+)\]\]"),
            )
            rows.append(json.loads(output.read_text(encoding="utf-8")))
    battles = [battle for row in rows for battle in show_result.get_battles_from_row(row, False, 3, BASELINE)]
    frame = pd.DataFrame(battles)
    np.random.seed(42)  # noqa: NPY002 - as at the import of utils_math, in a process for one model
    ratings = utils_math.compute_mle_elo(frame, baseline_model=BASELINE)
    rounds = utils_math.get_bootstrap_result(frame, utils_math.compute_mle_elo, 100, BASELINE)

    def win_rate(rating):
        table = utils_math.predict_win_rate({BASELINE: 1000.0, "model": rating})
        return 100 * float(table[BASELINE]["model"])

    first = [[number, game, attempt, messages] for number, game, attempt, messages in sent if number == 0]
    return {
        "games": [[game["score"] for game in row["games"]] for row in rows],
        "attempts": len(sent),
        "first_messages": first,
        "battles": [{"model_b": 1, "model_a": 0, "tie": 0.5}[battle["winner"]] for battle in battles],
        "win_rate": win_rate(ratings["model"]),
        "lower": win_rate(np.percentile(rounds["model"], 2.5)),
        "upper": win_rate(np.percentile(rounds["model"], 97.5)),
    }


if __name__ == "__main__":
    official(Path(sys.argv[1]))
