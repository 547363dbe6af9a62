"""Invent instructions on the format of a response, its beginning and its end, and responses."""

import random

from oracle.live_bench_cases.prose import PROSE, Made, prose


def placeholders(chance: random.Random) -> Made:
    n = chance.randrange(1, 4)
    return {"num_placeholders": n}, ["[a] " * n, "[a] " * (n - 1), "[a\nb]" * n, "[]" * n, "[[x]] " * n]


def postscript(chance: random.Random) -> Made:
    marker = chance.choice(["P.S.", "P.P.S", "Note:"])
    return {"postscript_marker": marker}, [
        f"Text.\n{marker} Bye.",
        f"Text {marker.lower()}",
        "P. S. Bye",
        "p.p. s",
        "PS: bye",
        "P.S bye",
        "P.\nS.",
        "x",
    ]


def bullets(chance: random.Random) -> Made:
    n = chance.randrange(1, 5)
    return {"num_bullets": n}, [
        "* item\n" * n,
        "- item\n" * n,
        "* a\n" * (n - 1) + "  - b",
        "* a\n" * (n + 1),
        "**bold** x\n" * n,
        "*\n" * n,
        "1. a\n" * n,
        "---\n" + "* a\n" * n,
        "• a\n" * n,
        "\n\n* a\n\n" * n,
        "*italic* a\n" * n,
    ]


def constrained(chance: random.Random) -> Made:
    return {}, [
        "My answer is yes.",
        "I think: My answer is maybe. Yes.",
        "my answer is no.",
        "My answer is no",
        prose(chance),
    ]


def highlights(chance: random.Random) -> Made:
    n = chance.randrange(1, 4)
    return {"num_highlights": n}, [
        "*a* " * n,
        "**a** " * n,
        "*a* " * (n - 1),
        "***a*** " * n,
        "* a\n* b\n* c",
        "** ** " * n,
        "*a\nb* " * n,
        "*a*b*" * n,
    ]


def sections(chance: random.Random) -> Made:
    n, name = chance.randrange(1, 4), chance.choice(["Section", "SECTION", "Day "])
    word = name.strip()
    return {"num_sections": n, "section_spliter": name}, [
        "".join(f"{word} {i}\nText\n" for i in range(n)),
        "".join(f"{word}{i} t " for i in range(n)),
        "".join(f"**{word} {i}** t\n" for i in range(n - 1)),
        f"{word} one\n" * n,
        f"{word.lower()} 1\n" * n,
        f"{word}\n\n1" * n,
    ]


def json_value(chance: random.Random) -> Made:
    return {}, [
        '{"a": 1}',
        '```json\n{"a": [1, 2.5, null]}\n```',
        '```\n"x"\n```',
        "{'a': 1}",
        'Here: {"a": 1}',
        "[1, 2,]",
        "3",
        '```JSON\n{"a": "b"}```',
        "NaN",
        '{"a": 1} {"b": 2}',
        '```python\n{"a": 1}\n```',
        prose(chance),
    ]


def title(chance: random.Random) -> Made:
    return {}, ["<<A title>>\nText", "<< >>", "<<<>>>", "<A title>", "<<A\ntitle>>", "Text <<x>> <<y>>", prose(chance)]


def two(chance: random.Random) -> Made:
    return {}, [
        "One******Two",
        "One\n******\nTwo\n******",
        "One******One",
        "One******Two******Three",
        "One",
        "******One******Two",
        "One************Two",
        "One*******Two",
        prose(chance),
    ]


def repeat(chance: random.Random) -> Made:
    prompt = chance.choice(PROSE)
    return {"prompt_to_repeat": f"{prompt} "}, [
        f"{prompt} Yes.",
        f"\n{prompt.upper()}\nNo.",
        f"You ask: {prompt}",
        prompt[:-3],
        prompt.replace(" ", "  "),
        prompt,
    ]


def end(chance: random.Random) -> Made:
    phrase = chance.choice(["Any other questions?", "Is that all?", "The end"])
    return {"end_phrase": f"{phrase} "}, [
        f"Text. {phrase}",
        f'"Text. {phrase.upper()}"\n',
        f"{phrase} Bye.",
        f"Text. {phrase}.",
        phrase[:-1],
        f"**{phrase}**",
    ]


def quotation(chance: random.Random) -> Made:
    return {}, ['"All of it."', ' "a" and "b"\n', '"', '""', "'All of it.'", "“All of it.”", '"Open', prose(chance)]


def comma(chance: random.Random) -> Made:
    return {}, ["No commas here.", "One, two", "1,000", "\uff0c", prose(chance)]
