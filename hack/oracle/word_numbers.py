"""Read invented texts with the package word2number: ``python word_numbers.py``, in the Python of the harness.

It writes a JSON list for each: the text, and its number in digits, or null.
"""

import json
import random

COUNT = 600
TEXTS = [
    "", "7", "007", "-5", "Twenty-One", "two point five", "one million two thousand",
    "two million five hundred thousand",
    "two hundred thirty four thousand five hundred six", "one billion", "point", "point five", "three point",
    "\N{SUPERSCRIPT TWO}", "\N{ARABIC-INDIC DIGIT THREE}",
]  # fmt: skip
OTHER_WORDS = ["and", "apples", "of", "-", "five-six", "12"]


def main() -> None:
    """Write the numbers."""
    from word2number import w2n  # noqa: PLC0415 (a package of the harness)

    words = list(w2n.american_number_system)
    chance = random.Random("number words")
    texts = list(TEXTS)
    while len(texts) < COUNT:
        chosen = chance.choices([*words, *words[-6:] * 3, *words[:4] * 2, *OTHER_WORDS], k=chance.randint(1, 8))
        texts.append(" ".join(chosen))
    for text in dict.fromkeys(texts):
        try:
            number = str(w2n.word_to_num(text))
        except Exception:  # noqa: BLE001 (ValueError and IndexError at least)
            number = None
        print(json.dumps([text, number]))


if __name__ == "__main__":
    main()
