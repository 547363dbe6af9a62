"""Compare the length-controlled win rate with alpaca-eval's, on invented judgements.

``main`` runs this file with another Python that has alpaca-eval 0.6.6 and scikit-learn 1.7, and writes the inputs and
the official results to ``tests/stages/judges/length_control.json``.
"""

# ruff: noqa: PLC0415 (the packages and the path of the official code are in another Python)
import json
import math
import random
import sys
import tempfile
from pathlib import Path

FIXTURE = Path(__file__).parents[2] / "tests/stages/judges/length_control.json"
QUESTIONS = 120
COLUMNS = ("preference", "index", "std_delta_len", "instruction_difficulty", "not_gamed_baseline", "model")


def make_gamed(chance):
    """Invent the judgements on two gamed baselines, one brief and one verbose."""
    difficulty = [round(chance.gauss(0, 0.8), 6) for _ in range(QUESTIONS)]
    rows = []
    for model, shift in (("brief", 1.2), ("verbose", -1.5)):
        for index in range(QUESTIONS):
            length = round(chance.gauss(shift, 0.7), 6)
            preference = round(1 / (1 + math.exp(0.9 * math.tanh(length) + chance.gauss(0, 0.4))), 6)
            rows.append([preference, index, length, difficulty[index], False, model])
    return rows


def make_case(chance, name, count, strength=0.0, bias=0.0, longer=0.0, draws=0.0, unparsed=0.0, binary=False):
    """Invent the preferences for a model, in percent, and the lengths of its responses and the baseline's."""
    preferences, lengths = [], []
    for _ in range(count):
        baseline = chance.randint(20, 3000)
        model = max(1, round(baseline * math.exp(longer + chance.gauss(0, 0.5))))
        value = 1 / (1 + math.exp(-(strength + bias * math.tanh((model - baseline) / 900) + chance.gauss(0, 1))))
        drawn = chance.random()
        preference = round(100 * value, 4)
        if binary:
            preference = 100.0 if value > 0.5 else 0.0
        if drawn < draws:
            preference = 50.0
        elif drawn < draws + unparsed:
            preference = None
        preferences.append(preference)
        lengths.append([baseline, model])
    return {"name": name, "preferences": preferences, "lengths": lengths}


def make_cases(chance):
    """Invent models from weak to strong, brief to verbose, and judges with draws and without verdicts."""
    return [
        make_case(chance, "weak", 120, strength=-1.5, bias=0.5),
        make_case(chance, "equal", 120),
        make_case(chance, "strong and verbose", 120, strength=1.2, bias=1.5, longer=0.6),
        make_case(chance, "brief", 100, strength=0.3, bias=2.0, longer=-1.0),
        make_case(chance, "draws and no verdicts", 120, strength=-0.4, bias=1.0, draws=0.2, unparsed=0.15),
        make_case(chance, "only wins or losses", 120, strength=-0.5, bias=1.0, binary=True),
        make_case(chance, "only wins", 60, strength=60),
        make_case(chance, "few questions", 7, strength=0.5),
    ]


def main(arguments):
    """Make the fixture."""
    from oracle.official import read_arguments, run_official

    arguments = read_arguments(arguments, __doc__)

    chance = random.Random(14)
    given = {"gamed": make_gamed(chance), "cases": make_cases(chance)}
    made = run_official(arguments.python, __file__, given)
    for case, result in zip(given["cases"], made["results"], strict=True):
        case.update(result)
    given["versions"] = made["versions"]
    FIXTURE.write_text(render(given), encoding="utf-8")
    print(f"{len(given['cases'])} cases: {FIXTURE}")


def render(given):
    """Return JSON with one gamed row or one field of a case per line."""
    gamed = ",\n".join(json.dumps(row) for row in given["gamed"])
    cases = ",\n".join(
        "{" + ",\n".join(f"{json.dumps(k)}: {json.dumps(v)}" for k, v in c.items()) + "}" for c in given["cases"]
    )
    return f'{{"versions": {json.dumps(given["versions"])},\n"gamed": [\n{gamed}\n],\n"cases": [\n{cases}\n]}}\n'


def official():
    """Read inputs from standard input, and print the official results as one line of JSON."""
    from importlib import metadata

    import pandas as pd
    from alpaca_eval.metrics import glm_winrate

    given = json.load(sys.stdin)
    results = []
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "df_gamed.csv"
        pd.DataFrame(given["gamed"], columns=COLUMNS).to_csv(path, index=False)
        glm_winrate.hf_hub_download = lambda **_: str(path)
        for case in given["cases"]:
            frame = pd.DataFrame(
                {
                    "preference": [None if p is None else 1 + p / 100 for p in case["preferences"]],
                    "output_1": ["x" * baseline for baseline, _ in case["lengths"]],
                    "output_2": ["x" * model for _, model in case["lengths"]],
                    "index": range(len(case["lengths"])),
                    "generator_1": "baseline",
                    "generator_2": "model",
                    "annotator": "invented",
                }
            )
            metrics = glm_winrate.get_length_controlled_winrate(frame, save_weights_dir=None)
            results.append(
                {
                    "win_rate": metrics["win_rate"],
                    "length_controlled": metrics["length_controlled_winrate"],
                    "standard_error": metrics["lc_standard_error"],
                    "values": [round(100 * value, 9) for value in frame["glm_preference"]],
                }
            )
    versions = {name: metadata.version(name) for name in ("alpaca-eval", "scikit-learn", "pandas", "numpy")}
    print(json.dumps({"results": results, "versions": versions}))


if __name__ == "__main__":
    official()
