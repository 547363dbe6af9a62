"""Texts of responses to instructions."""

import random
from typing import Any

Made = tuple[dict[str, Any], list[str]]
"""Arguments of an instruction, and responses."""

PROSE = [
    "The ferry left at 5 p.m. on Jan. 5, and Dr. Abel was on it.",
    "It was cold. Was it the U.S. coast? Nobody knew!",
    "He paid 3.50 for soup (see p. 4). Then he slept.",
    '"We are late," she said. "Hurry!" They ran.',
    "NASA and the EU don't agree... yet.",
    "I CAN'T WAIT; the DOG-HOUSE is NEW, isn't IT?",
    "First, e.g. the harbour. Second, the market, i.e. the square.",
    "Mr. and Mrs. Vale bought 2.5 kg of salt from Lund Inc. and left",
    "What?! No way!! It cannot be... or can it?",
    "The committee met on Tuesday and agreed to repair the old bridge before winter.",
]
LANGUAGES = {
    "en": "The river is high this spring, and the people of the village carry their chairs to the upper floor.",
    "de": "Der Fluss steht in diesem Frühling hoch, und die Leute im Dorf tragen ihre Stühle in den oberen Stock.",
    "fr": "La rivière est haute ce printemps, et les gens du village portent leurs chaises à l'étage.",
    "es": "El río está alto esta primavera y la gente del pueblo sube sus sillas al piso de arriba.",
    "ru": "Этой весной река стоит высоко, и люди в деревне носят стулья на верхний этаж.",
    "ja": "この春は川の水が高く、村の人々は椅子を二階に運んでいます。",
    "ar": "النهر مرتفع هذا الربيع، وأهل القرية يحملون كراسيهم إلى الطابق العلوي.",
}


def prose(chance: random.Random, most: int = 6) -> str:
    return chance.choice([" ", "\n\n", "\n"]).join(chance.sample(PROSE, chance.randrange(1, most)))
