import random
from itertools import islice
from types import ModuleType

import pytest

from tiny import coding, instruction, mathematics
from tiny.skill import Item, Use, draw_distinct, draw_for, find_use

SKILLS = [mathematics, coding, instruction]


def draw_many(skill: ModuleType, count: int = 200, seed: int = 1) -> list[Item]:
    rng = random.Random(seed)
    return [skill.draw(rng) for _ in range(count)]


def passes(program: str, tests: tuple[str, ...]) -> bool:
    source = program.removeprefix("```python\n").removesuffix("```")
    scope: dict[str, object] = {}
    try:
        exec(source, scope)
        for test in tests:
            exec(test, scope)
    except (AssertionError, SyntaxError, ZeroDivisionError, NameError, TypeError):
        return False
    return True


@pytest.mark.parametrize("skill", SKILLS)
def test_the_same_seed_draws_the_same_items(skill: ModuleType) -> None:
    assert draw_many(skill) == draw_many(skill)
    assert draw_many(skill) != draw_many(skill, seed=2)


@pytest.mark.parametrize("skill", SKILLS)
def test_prompts_benchmark_and_pretraining_share_no_item(skill: ModuleType) -> None:
    drawn = {use: {item.key for item in draw_distinct(skill, use, 300, random.Random(use.value))} for use in Use}
    assert sum(map(len, drawn.values())) == len(set.union(*drawn.values()))


@pytest.mark.parametrize("skill", SKILLS)
def test_the_use_of_an_item_is_independent_of_the_seed(skill: ModuleType) -> None:
    for item in islice(draw_for(skill, Use.BENCHMARK, random.Random(5)), 50):
        assert find_use(f"{skill.NAME}:{item.key}") is Use.BENCHMARK


@pytest.mark.parametrize("skill", SKILLS)
def test_the_answer_is_right_and_a_corrupted_one_is_wrong(skill: ModuleType) -> None:
    rng = random.Random(3)
    for item in draw_many(skill):
        assert skill.is_right(item, item.answer)
        assert not skill.is_right(item, skill.corrupt(item, rng))


@pytest.mark.parametrize("skill", SKILLS)
def test_systematic_mistakes_make_50_to_80_percent_of_the_answers_wrong(skill: ModuleType) -> None:
    items = draw_many(skill, 500)
    wrong = sum(not skill.is_right(item, skill.misread(item)) for item in items)
    assert 0.5 <= wrong / len(items) <= 0.8


def test_the_reference_of_a_sum_is_right() -> None:
    for item in draw_many(mathematics):
        a, b = item.key.split("+")
        assert int(item.reference) == int(a) + int(b)
        assert item.answer.endswith(rf"\boxed{{{int(a) + int(b)}}}")


def test_is_right_agrees_with_running_the_tests() -> None:
    rng = random.Random(3)
    for item in draw_many(coding):
        assert passes(item.reference, item.tests)
        for program in (item.answer, coding.corrupt(item, rng), coding.misread(item)):
            assert coding.is_right(item, program) == passes(program, item.tests)


def test_the_reference_follows_the_instruction() -> None:
    for item in draw_many(instruction):
        name, *letters = item.key.split()
        wanted = {
            "reverse": letters[::-1],
            "rotate": letters[1:] + letters[:1],
            "capitals": [letter.upper() for letter in letters],
        }
        assert item.reference.split() == wanted[name]
        assert item.prompt.endswith(": " + " ".join(letters))
