"""Invent logic puzzles and spatial questions."""

import random

from oracle.live_bench_cases.invented import Invented

NAMES = ["Ada", "Bo", "Cleo", "Dimitri", "Eve", "Farid", "Gwen", "Hugo", "Ines"]


def web_of_lies(chance: random.Random) -> Invented:
    """Three answers of yes or no."""
    gold = ", ".join(chance.choice(["yes", "no"]) for _ in range(3))
    other = ", ".join("no" if word == "yes" else "yes" for word in gold.split(", "))
    responses = [
        f"**{gold}**",
        f"**{gold.title()}**",
        f"**{other}** and then **{gold}.**",
        f"**{gold}** is the **answer**",
        f"**The answers are {gold}**",
        f"**No doubt: {gold}**",
        f"*{gold}*",
        f"***{gold}***",
        f"**{gold.replace(', ', ' ')}**",
        f"**{other}**",
        f"**{gold}, yes**",
        f"**{gold}\n**",
        gold,
        "****",
    ]
    return Invented("reasoning", "web_of_lies_v2", "Who tells the truth?", {"ground_truth": gold}, responses)


def zebra(chance: random.Random) -> Invented:
    """A word between triple asterisks."""
    gold = chance.choice(["three", "Two", "9", "horror movies", "Sushi", "green", "seven", "twenty"])
    digits = {"three": "3", "Two": "2", "9": "9", "seven": "7", "twenty": "20"}
    digit = digits.get(gold, "4")
    first = gold.split()[0]
    responses = [
        f"***{gold}***",
        f"***{gold.upper()}***",
        f"***{first}***",
        f"***{digit}***",
        f"The answer is {digit}.",
        f"The answer is {gold}!",
        f"**{gold}**",
        f"***{gold}.***",
        f"***wrong*** but ***{first}***",
        f"***{first}*** but ***wrong***",
        f"so it is {first}",
        f"{first} it is",
        "!!!",
        "***4***",
    ]
    return Invented("reasoning", "zebra_puzzle", "What does he like?", {"ground_truth": gold}, responses)


def spatial(chance: random.Random) -> Invented:
    """A number, a solid or a shape in bold."""
    gold = chance.choice(["4", "13", "tetrahedra", "tetrahedron", "triangle", "square", "cube", "No", "twenty", "30"])
    words = {"4": "four", "13": "Thirteen", "30": "thirty"}
    word = words.get(gold, gold)
    responses = [
        f"**{gold}**",
        f"**{gold.upper()}**",
        f"** {word} **",
        f"**{word}** pieces, **{word}**, **x**",
        f"**{gold}** a **x** b **y** c **z**",
        f"**{gold}** a **x** b **y**",
        f"**two {gold}**",
        f"**equilateral {gold}**",
        f"**circle square and {gold}**",
        f"**{gold}s**",
        f"***{gold}***",
        f"**4.**\n\\boxed{{{gold}}}",
        f"\\boxed{{{gold.lower()}}}",
        f"\\boxed {gold}$",
        f"\\fbox{{{gold}}}",
        f"\\boxed{{\\text{{{gold}}}}}",
        f"\\boxed\\mathrm{{{gold}}}",
        f"**Answer:** {gold}",
        gold,
        "",
    ]
    return Invented("reasoning", "spatial", "How many pieces?", {"ground_truth": gold}, responses)


def house_traversal(chance: random.Random) -> Invented:
    """Names in order, in bold."""
    names = chance.sample(NAMES, chance.randrange(3, 6))
    gold = " ".join(names)
    wrong = " ".join([names[1], names[0], *names[2:]])
    responses = [
        f"**{gold}**",
        f"**{', '.join(names)}**",
        " ".join(f"**{name}**" for name in names),
        " and ".join(f"***{name}***" for name in names),
        f"**x** {' '.join(f'**{name.upper()}**' for name in names)}",
        f"{' '.join(f'**{name}**' for name in names)} **end**",
        f"**{wrong}**",
        " ".join(f"**{name}**" for name in wrong.split()),
        f"**{' '.join(names[:-1])}**",
        f"**{names[0]} {gold}**",
        f"**{gold}** or **{wrong}**",
        f"**{' '.join(names[:1] * 2)}**",
        gold,
        f"**{gold}",
    ]
    return Invented("reasoning", "house_traversal", "In what order?", {"ground_truth": gold}, responses)
