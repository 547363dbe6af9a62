"""Invent problems of competitions, and computations."""

import random

from oracle.live_bench_cases.invented import Invented
from oracle.live_bench_cases.values import KINDS


def choice(chance: random.Random) -> Invented:
    """AMC and SMC: a letter among choices in LaTeX."""
    letter, other = chance.sample("ABCDE", 2)
    values = dict(zip("ABCDE", chance.sample(range(10, 99), 5), strict=True))
    style = chance.randrange(3)
    written = {key: (f"\\frac{{{value}}}{{7}}" if style == 1 else f"~{value}") for key, value in values.items()}
    choices = "\\qquad".join(f"\\textbf{{({key})}} {value}" for key, value in written.items())
    prompt = f"How many marbles are left? ${choices}$ Think step by step." if style < 2 else "How many? A, B, C, D, E"
    value = written[letter].strip("~")
    responses = [
        f"So it is {letter * 5}.",
        letter * 4,
        letter * 3,
        f"{other * 5} or {letter * 5}",
        f"\\boxed{{{letter}}}",
        f"${{\\boxed{{{other}}}}}$ no, \\boxed{{{letter}}}",
        f"\\boxed{{\\textbf{{({letter})}}}}",
        f"\\fbox{{{letter}}} done",
        f"\\\\fbox{{{letter}}} done",
        f"\\boxed {letter}$ yes",
        f"\\boxed {letter}",
        f"\\boxed{{{letter}",
        f"The answer is {value}.",
        f"The answer is ${value}$, and so the count of the marbles is known.",
        f"{value} " + "x" * 19,
        f"{value} " + "x" * 20,
        f"We get \\boxed{{{value}}}",
        "FAILURE",
        f"\\boxed\\text{{{letter}}}",
        other * 5,
    ]
    subtask = chance.choice(["amc_12a_2023", "updated_amc_12b_2023", "smc"])
    return Invented("math", "math_comp", prompt, {"subtask": subtask, "ground_truth": letter}, responses)


def aime(chance: random.Random) -> Invented:
    """AIME: a number of three digits at the end."""
    gold = f"{chance.randrange(1000):03}"
    responses = [
        f"The answer is {gold}",
        gold,
        f"\\boxed{{{gold}}}.",
        f"\\boxed{{{int(gold)}}}",
        f"{gold}" + "!" * 17,
        f"{gold}" + "!" * 18,
        f"{int(gold) + 1:03}",
        f"1{gold}9",
        "I do not know.",
    ]
    subtask = chance.choice(["aime_i_2024", "aime_ii_2024"])
    return Invented("math", "math_comp", "Find n.", {"subtask": subtask, "ground_truth": gold}, responses)


def olympiad(chance: random.Random) -> Invented:
    """IMO and USAMO: the order of the identifiers of formulas."""
    order = chance.sample(range(1, 40), chance.randrange(4, 15))
    swapped = [*order]
    a, b = chance.sample(range(len(order)), 2)
    swapped[a], swapped[b] = swapped[b], swapped[a]
    commas = ", ".join(map(str, order))
    responses = [
        f"Proof.\n\nAnswer: {commas}",
        f"**Answer**: {commas}.",
        f"Answer: {commas}\n\nThis completes the proof, in 3, 4 steps.",
        f"Answer: {', '.join(map(str, swapped))}",
        f"Answer: {', '.join(map(str, order[:-1]))}",
        f"Answer: 99, {commas}, 98",
        f"Answer: 1, 2\nAnswer: {commas}",
        commas,
        f"Answer: {' '.join(map(str, order))}",
        "Answer: " + ", ".join(f"<expression {n}>" for n in order),
        f"Answer: [{commas}]",
        "Answer: " + commas.replace(",", "\uff0c"),
        "Answer: none",
        f"Answer: x₂, {commas}",
        "The answer: " + commas,
    ]
    row = {"subtask": chance.choice(["imo", "usamo"]), "ground_truth": ",".join(map(str, order))}
    return Invented("math", "olympiad", "Put the formulas in order.", row, responses)


def amps_hard(subtask: str, chance: random.Random) -> Invented:
    """Computations whose result is an expression or a number."""
    gold, answers = KINDS[subtask](chance)
    responses = [f"So it is $\\boxed{{{answer}}}$." for answer in answers]
    first = answers[0]
    responses += [
        f"\\boxed{{x = {first}}}",
        f"\\boxed {first}$ as asked",
        f"\\fbox{{{first}}}",
        f"\\boxed{{1}} or \\boxed{{{first}}}",
        f"\\boxed{{\\text{{{first}}}}}",
        f"\\boxed{{{first} + C}}",
        f"\\boxed{{{first} \\text{{ cm}}}}",
        f"\\boxed{{{first}",
        f"The answer is {first}.",
    ]
    return Invented("math", "AMPS_Hard", "Compute it.", {"subtask": subtask, "ground_truth": gold}, responses)
