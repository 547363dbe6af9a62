"""Invent groups of words, texts with misspellings, plots and types of columns."""

import random

from oracle.live_bench_cases.invented import Invented

WORDS = (
    *("amber", "basket", "candle", "dragon", "ember", "falcon", "garden", "hammer", "island", "jacket", "kettle"),
    *("lantern", "marble", "needle", "orchard", "pepper", "quiver", "ribbon", "saddle", "timber", "velvet", "walnut"),
)
SENTENCES = [
    "A baker finds a map in a loaf of bread",
    "She follows the river to an old mill",
    "The miller denies that he knows the map",
    "At night, a boat with two lamps arrives",
    "The baker hides among the sacks of flour",
    "Dr. Lowe explains that the map is of 1.5 miles of coast",
    "They dig and find a chest that is empty",
    "The miller admits that he sold the gold long ago",
    "The baker opens a second shop with the reward",
]


def connections(chance: random.Random) -> Invented:
    """Groups of four words."""
    words = chance.sample(WORDS, 4 * chance.choice([2, 3, 4]))
    gold = ", ".join(words)
    groups = [words[start : start + 4] for start in range(0, len(words), 4)]
    mixed = [word for group in groups[::-1] for word in chance.sample(group, 4)]
    swapped = [*words]
    swapped[0], swapped[4] = swapped[4], swapped[0]
    responses = [
        f"**{gold}**",
        f"**{', '.join(mixed).upper()}**",
        f"**{','.join(mixed)}**",
        f"**{', '.join(swapped)}**",
        f"**{', '.join(words[:4])}**",
        f"**{', '.join(words[1:])}**",
        f"Groups: **{', '.join(swapped)}** no: **{gold}** or **x**",
        "\n".join(f"**{', '.join(group)}**" for group in groups),
        f"**Answer: {gold}**",
        f"**{gold}.**",
        f"*{gold}*",
        gold,
        f"**{' '.join(words)}**",
        "****",
    ]
    return Invented("language", "connections", "Put the words in groups.", {"ground_truth": gold}, responses)


def typos(chance: random.Random) -> Invented:
    """A text without its misspellings."""
    gold = ". ".join(chance.sample(SENTENCES, 3)) + "."
    wrong = gold.replace("the", "teh", 1)
    responses = [
        gold,
        f"{gold}\n\n",
        f"{gold}\n \n",
        f"Here is the text:\n\n{gold}",
        f"Here is the text: {gold} Done.",
        f"{gold}\nI fixed all of them.",
        wrong if wrong != gold else gold[1:],
        gold.replace(". ", ".\n"),
        gold.lower(),
        "\n\n",
        "x",
    ]
    return Invented("language", "typos", "Fix the misspellings.", {"ground_truth": gold}, responses)


def plot(chance: random.Random) -> Invented:
    """Sentences in another order."""
    sentences = chance.sample(SENTENCES, chance.randrange(4, 9))
    gold = ". ".join(sentences) + "."
    shuffled = chance.sample(sentences, len(sentences))
    responses = [
        f"<PLOT_SUMMARY>\n{gold}",
        f"The order:\n<PLOT_SUMMARY>{gold}</PLOT_SUMMARY>",
        f"<PLOT_SUMMARY> {'. '.join(shuffled)}.",
        f"<PLOT_SUMMARY> {'. '.join(sentences[::-1])}.",
        f"<PLOT_SUMMARY> {'. '.join(sentences[1:])}. Then it ends.",
        f"<PLOT_SUMMARY> {'. '.join(sentences).replace('baker', 'cook').replace('miller', 'old man')}.",
        gold,
        f"Sure. {'. '.join(shuffled)}",
        "<PLOT_SUMMARY> One sentence",
        "<PLOT_SUMMARY> ...",
        "<PLOT_SUMMARY>",
    ]
    return Invented("language", "plot_unscrambling", "Put the sentences in order.", {"ground_truth": gold}, responses)


def column_type(chance: random.Random) -> Invented:
    """The type of a column."""
    gold = chance.choice(["country", "Day of week", "job_title", "URL", "Straße", "price (EUR)"])
    responses = [
        gold,
        f" {gold.upper()}.\n",
        f'"{gold}"',
        f"**{gold}**",
        f"The type is {gold}",
        gold.replace(" ", ""),
        gold.replace("_", " "),
        gold[:-1],
        f"{gold}\n{gold}",
        "",
    ]
    return Invented("data_analysis", "cta", "What is the type?", {"ground_truth": gold}, responses)
