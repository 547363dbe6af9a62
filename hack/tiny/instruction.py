"""Instructions on a list of letters: reverse it, move the first letter to the end, or write it in capitals."""

import random
import string
from collections.abc import Callable

from tiny.skill import Item

NAME = "instruction"
LENGTH = 4

_INSTRUCTIONS: dict[str, tuple[str, Callable[[list[str]], list[str]]]] = {
    "reverse": ("Reverse these letters: {letters}", lambda letters: letters[::-1]),
    "rotate": ("Move the first letter to the end: {letters}", lambda letters: [*letters[1:], letters[0]]),
    "capitals": ("Write these letters in capitals: {letters}", lambda letters: [letter.upper() for letter in letters]),
}


def draw(rng: random.Random) -> Item:
    """Draw an instruction and four different letters."""
    name = rng.choice(tuple(_INSTRUCTIONS))
    letters = rng.sample(string.ascii_lowercase, LENGTH)
    wording, follow = _INSTRUCTIONS[name]
    answer = " ".join(follow(letters))
    prompt = wording.format(letters=" ".join(letters))
    return Item(key=f"{name} {' '.join(letters)}", prompt=prompt, answer=answer, reference=answer)


def corrupt(item: Item, rng: random.Random) -> str:
    """Drop a letter, repeat one, change the case, or swap two neighbours."""
    while True:
        text = _slip(item, rng)
        if text != item.answer:
            return text


def misread(item: Item) -> str:
    """Repeat the letters unchanged, except for capitals, which are right."""
    name, *letters = item.key.split()
    return item.answer if name == "capitals" else " ".join(letters)


def is_right(item: Item, text: str) -> bool:
    """Compare with the right answer, without leading and trailing spaces."""
    return text.strip() == item.reference


def _slip(item: Item, rng: random.Random) -> str:
    name = item.key.split()[0]
    answer = item.answer.split()
    place = rng.randrange(len(answer) - 1)
    kind = rng.random()
    if kind < 0.35:
        answer.pop(place)
    elif kind < 0.6:
        answer.insert(place, answer[place])
    elif kind < 0.8:
        answer = [text.lower() if name == "capitals" else text.upper() for text in answer]
    else:
        answer[place], answer[place + 1] = answer[place + 1], answer[place]
    return " ".join(answer)
