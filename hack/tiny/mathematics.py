"""Addition of two two-digit numbers, with the steps and a boxed result."""

import random
import re

from tiny.skill import Item

NAME = "mathematics"

_WORDINGS = ("What is {a} + {b}?", "Compute {a} + {b}.", "Add {a} and {b}.")
_BOX = re.compile(r"\\boxed\{(\d+)\}")


def write_steps(
    a: int, b: int, *, ones_slip: int = 0, forget_carry: bool = False, tens_slip: int = 0, drop_hundred: bool = False
) -> str:
    """Write the column addition of a and b, with the given mistakes."""
    ones = a % 10 + b % 10 + ones_slip
    carry = 0 if forget_carry else ones // 10
    tens = a // 10 + b // 10 + carry + tens_slip
    if drop_hundred:
        tens %= 10
    total = tens * 10 + ones % 10
    return (
        f"Ones: {a % 10}+{b % 10}={ones}. "
        f"Tens: {a // 10}+{b // 10}+{carry}={tens}. "
        rf"So \boxed{{{total}}}"
    )


def draw(rng: random.Random) -> Item:
    """Draw two numbers from 10 to 99."""
    a, b = rng.randint(10, 99), rng.randint(10, 99)
    prompt = rng.choice(_WORDINGS).format(a=a, b=b)
    return Item(key=f"{a}+{b}", prompt=prompt, answer=write_steps(a, b), reference=str(a + b))


def corrupt(item: Item, rng: random.Random) -> str:
    """Make a mistake in one of the two columns, or forget the carry."""
    a, b = (int(number) for number in item.key.split("+"))
    if a % 10 + b % 10 >= 10 and rng.random() < 0.6:
        return write_steps(a, b, forget_carry=True)
    if rng.random() < 0.5:
        return write_steps(a, b, tens_slip=1)
    return write_steps(a, b, ones_slip=1)


def misread(item: Item) -> str:
    """Never carry, and drop the hundred."""
    a, b = (int(number) for number in item.key.split("+"))
    return write_steps(a, b, forget_carry=True, drop_hundred=True)


def is_right(item: Item, text: str) -> bool:
    """Compare the last boxed number with the sum."""
    boxes = _BOX.findall(text)
    return bool(boxes) and int(boxes[-1]) == int(item.reference)
