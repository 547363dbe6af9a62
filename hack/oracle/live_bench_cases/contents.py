"""Invent instructions on keywords, lengths and letters, and responses."""

import random

from oracle.live_bench_cases.prose import LANGUAGES, Made, prose


def relation(chance: random.Random) -> str:
    return chance.choice(["less than", "at least"])


def existence(chance: random.Random) -> Made:
    words = chance.sample(["ferry", "soup", "bridge", "salt", "harbour"], 2)
    return {"keywords": words}, [" and ".join(words), words[0], words[0].upper() + words[1], prose(chance)]


def frequency(chance: random.Random) -> Made:
    n = chance.randrange(1, 4)
    arguments = {"keyword": "salt ", "frequency": n, "relation": relation(chance)}
    return arguments, ["salt " * n, "Salty " * (n - 1) + "x", "salt, " * (n + 1), "none"]


def forbidden(chance: random.Random) -> Made:
    return {"forbidden_words": ["salt", "bridge", "it"]}, [
        "Salt!",
        "The salty bridges",
        "bridge",
        "its",
        "IT",
        prose(chance),
    ]


def letter(chance: random.Random) -> Made:
    n = chance.randrange(1, 6)
    arguments = {"letter": chance.choice("aeZq"), "let_frequency": n, "let_relation": relation(chance)}
    return arguments, [arguments["letter"] * n, arguments["letter"].swapcase() * (n - 1) + "x", prose(chance)]


def language(chance: random.Random) -> Made:
    code = chance.choice(list(LANGUAGES))
    return {"language": code}, [*LANGUAGES.values(), "123 !!", LANGUAGES[code].upper()]


def sentences(chance: random.Random) -> Made:
    texts = [prose(chance) for _ in range(6)] + [
        "One. Two. Three.",
        "one.two.three",
        "A !? B",
        "- a.\n- b.\n",
        "\u3002\uff01",
    ]
    return {"num_sentences": chance.randrange(1, 10), "relation": relation(chance)}, texts


def paragraphs(chance: random.Random) -> Made:
    n = chance.randrange(1, 4)
    parts = ["One part."] * n
    texts = [
        "\n***\n".join(parts),
        "***".join([*parts, ""]),
        "*** ***".join(parts),
        "\n\n".join(parts),
        "***\n".join(["", *parts]),
    ]
    return {"num_paragraphs": n}, [*texts, "***", "* * *".join(parts)]


def words(chance: random.Random) -> Made:
    n = chance.randrange(3, 12)
    return {"num_words": n, "relation": relation(chance)}, [
        "word " * n,
        "word " * (n - 1),
        "don't " * (n // 2),
        "a-b_c " * n,
        "1.5 " * (n // 2),
        prose(chance),
    ]


def first_word(chance: random.Random) -> Made:
    n = chance.randrange(2, 5)
    nth = chance.randrange(1, n + 1)
    arguments = {"num_paragraphs": n, "nth_paragraph": nth, "first_word": chance.choice(["Ferry", "salt"])}
    word = arguments["first_word"]

    def text(first: str, count: int = n, join: str = "\n\n") -> str:
        return join.join(f"{first} is here." if index == nth else "Other text." for index in range(1, count + 1))

    return arguments, [
        text(word),
        text(f'"{word.upper()}!"'),
        text(f"'{word}"),
        text(f"{word}'s"),
        text(f"A {word}"),
        text(f"{word}-like"),
        text(word, n + 1),
        text(word, n - 1),
        text(word, n, "\n\n\n\n"),
        text(word, n, "\n"),
        f"\n\n{text(word)}\n\n",
    ]


def capital_words(chance: random.Random) -> Made:
    arguments = {"capital_frequency": chance.randrange(1, 8), "capital_relation": relation(chance)}
    texts = [
        "I CAN'T GO",
        "A B-C D/E F.",
        'I\'M "SO" HAPPY. OK?',
        "WON'T GONNA 'TIS U.S. A.",
        "1A 2b C3!",
        "“NO” (YES) [OK] {X}",
    ]
    return arguments, [*texts, *(prose(chance) for _ in range(4)), prose(chance).upper()]


def case(chance: random.Random) -> Made:
    texts = list(LANGUAGES.values())[:5]
    return {}, [
        *(text.upper() for text in texts),
        *(text.lower() for text in texts),
        prose(chance),
        "123",
        "A",
        "IT IS 5 P.M.",
    ]
