"""One spelling for each notation: LaTeX, plain text and Unicode give the same characters.

Every rule is one linear replacement. What has no rule here stays, and the readers refuse what they do not know.
"""

import re

MONEY = "\\dollar "
DEGREE = " \\deg "
DOTS = "\\ldots "

_CHARACTERS = str.maketrans(
    {
        "−": "-", "–": "-", "‐": "-", "‑": "-", "＋": "+", "×": "\\times ", "·": "\\cdot ", "⋅": "\\cdot ",
        "∙": "\\cdot ",
        "÷": "\\div ", "π": "\\pi ", "∞": "\\infty ", "≤": "\\le ", "⩽": "\\le ", "≥": "\\ge ", "⩾": "\\ge ",
        "≠": "\\ne ",
        "√": "\\surd ", "²": "^{2}", "³": "^{3}", "⁴": "^{4}", "½": "\\frac{1}{2}", "⅓": "\\frac{1}{3}",
        "¼": "\\frac{1}{4}", "¾": "\\frac{3}{4}", "⅔": "\\frac{2}{3}", "°": DEGREE, "∪": "\\cup ", "∩": "\\cap ",
        "∈": "\\in ", "∅": "\\emptyset ", "±": "\\pm ", "≈": "\\approx ", "≡": "\\equiv ", "ℝ": "\\reals ",
        "，": ",", "。": ".", "：": ":", "；": ";", "（": "(", "）": ")", "％": "%", "＝": "=", "＜": "<", "＞": ">",
        "／": "/", "、": ",", "「": '"', "」": '"', "“": '"', "”": '"', "‘": "'", "’": "'", "′": "'", "…": DOTS,
        "\u00a0": " ", "\u2009": "\\,", "\u202f": "\\,", "\u2007": " ", "\u3000": " ", "\u200b": "", "\ufeff": "",
        "𝑖": " i ", "ⅈ": " i ", "ı": " i ", "〈": "\\langle ", "⟨": "\\langle ", "⟩": "\\rangle ", "〉": "\\rangle ",
        "＄": "$", "﹩": "$", "\t": " ", "\n": " ", "\r": " ", "~": " ",
    }
)  # fmt: skip
_CHARACTERS |= {ord("０") + n: str(n) for n in range(10)}
_CHARACTERS |= {ord("Ａ") + n: chr(ord("A") + n) for n in range(26)}

_REPLACED = {
    "left": "", "right": "", "big": "", "Big": "", "bigg": "", "Bigg": "", "bigl": "", "bigr": "", "Bigl": "",
    "Bigr": "", "displaystyle": "", "textstyle": "", "limits": "", "rm": "", "bf": "", "it": "", "quad": " ",
    "qquad": " ", "thinspace": "\\,", "dfrac": "\\frac", "tfrac": "\\frac", "cfrac": "\\frac", "dbinom": "\\binom",
    "tbinom": "\\binom", "leq": "\\le", "leqslant": "\\le", "geq": "\\ge", "geqslant": "\\ge", "neq": "\\ne",
    "lt": "<", "gt": ">", "lbrace": "\\{", "rbrace": "\\}", "lvert": "|", "rvert": "|", "vert": "|", "lbrack": "[",
    "rbrack": "]", "dots": DOTS, "cdots": DOTS, "ldots": DOTS, "dotsc": DOTS, "imath": "i", "degree": DEGREE,
    "land": " and ", "lor": " or ", "varnothing": "\\emptyset",
    "ast": "*", "middle": "",
    "infin": "\\infty", "euro": "€", "pounds": "£", "mathdollar": MONEY, "textdollar": MONEY, "colon": ":",
    "nobreakspace": " ", "hspace": " ", "hfill": " ", "tg": "\\tan", "ctg": "\\cot", "arctg": "\\arctan",
}  # fmt: skip
_COMMAND = re.compile(r"\\([a-zA-Z]+)")
_FONT = re.compile(
    r"\\(?:text|textbf|textit|textrm|textsf|texttt|textnormal|mathrm|mathbf|mathit|mathsf|mathtt|mathnormal|boldsymbol"
    r"|bm|mbox|hbox|operatorname|emph|underline|mathcal|mathop|mathord)\*?[ ]{0,4}\{([^{}]*)\}"
)
_CIRCLED = re.compile(r"\\textcircled ?\{? ?([1-9]) ?\}?")
_LETTER = re.compile(r"\\mathbb[ ]{0,4}\{?([A-Z])\}?")
_SETS = {"R": "\\reals ", "Z": "\\integers ", "N": "\\naturals ", "Q": "\\rationals ", "C": "\\complexes "}
_CIRCLE = re.compile(r"\^[ ]{0,4}(?:\{[ ]{0,4}\\circ[ ]{0,4}\}|\\circ(?![a-zA-Z])|\\deg(?![a-zA-Z]))")
_GROUPED = re.compile(r"(?<![0-9.,])([0-9]{1,3})((?:(?:,\\!|\{,\}|\\,|\\;|\\:|\\ |\{ \}|'| |,)[0-9]{3})+)(?![0-9])")
_GROUPS = re.compile(r",\\!|\{,\}|\\,|\\;|\\:|\\ |\{ \}|'| |,")
_SPACE = re.compile(r"\\[,;:> ]|\\!")
_BLANKS = re.compile(r" {2,}")
_DOTS = re.compile(r"\.{3,}|\. \. \.")
_INDIAN = re.compile(r"(?<![0-9.,])[0-9]{1,2}(?:,[0-9]{2})+,[0-9]{3}(?![0-9])")
_DECIMAL_COMMA = re.compile(r"(?<=[0-9])\{,\}(?=[0-9])")
_LETTER_UNITS = {"m": "meters", "g": "grams", "s": "seconds", "h": "hours", "l": "liters", "L": "liters"}
_LAYERS_MAX = 20
_EDGES = re.compile(r"^(?:\*\*|__|`|\")+|(?:\*\*|__|`|\")+$|^'(?=[^']*'$)|(?<=[^\W\d_])'$")


def clean(text: str) -> str:
    """Return the text with one spelling for each notation, without the marks around formulas."""
    text = text.replace("\\\\", "\\cr ") if "\\begin" in text else text
    text = text.translate(_CHARACTERS).strip()
    text = _EDGES.sub("", text).strip()
    text = _without_dollars(text.replace("\\$", MONEY))
    text = text.replace("\\(", "").replace("\\)", "").replace("\\[", " ").replace("\\]", " ")
    if "\\" in text:
        text = _CIRCLED.sub(lambda found: chr(ord("①") + int(found[1]) - 1), text)
        text = _fonts(text)
        text = _LETTER.sub(lambda found: _SETS.get(found[1], found[1]), text)
        text = _CIRCLE.sub(lambda _: DEGREE, text)
        text = _COMMAND.sub(lambda found: _REPLACED.get(found[1], found[0]), text)
        text = text.replace("\\%", "%").replace("\\&", "&").replace("\\#", "#").replace("\\_", "_").replace("\\|", "|")
    text = _DOTS.sub(lambda _: DOTS, text)
    text = _join_groups(text)
    text = _BLANKS.sub(" ", _SPACE.sub(lambda found: "" if found[0] == "\\!" else " ", text)).strip()
    return _strip_end(text)


def _without_dollars(text: str) -> str:
    """Remove the dollar signs around formulas; a single one in front of digits is money."""
    if text.count("$") % 2 == 1:
        text = re.sub(r"\$(?= ?[0-9.])", lambda _: MONEY, text, count=1)
    return text.replace("$", "")


def _fonts(text: str) -> str:
    for _ in range(4):  # fonts may be nested
        changed = _FONT.sub(_font, text)
        if changed == text:
            break
        text = changed
    return text


def _font(found: re.Match[str]) -> str:
    r"""Return the content; a single letter of ``5\text{ m}`` becomes the unit's name, since ``5m`` is a product."""
    content = found[1].strip()
    before = found.string[max(0, found.start() - 8) : found.start()].rstrip(" \\,;~")
    if content in _LETTER_UNITS and before.endswith((*"0123456789)}", "\\pi")):
        content = _LETTER_UNITS[content]
    return f" {content} "


def _join_groups(text: str) -> str:
    """Join the groups of three digits of one number. Groups with different marks are several numbers."""

    def join(found: re.Match[str]) -> str:
        marks = set(_GROUPS.findall(found[2]))
        if len(marks) > 1 or found[1].startswith("0") or ("," in marks and is_bracketed(text, found.start())):
            return found[0]
        if " " in marks and text[found.end() : found.end() + 2].lstrip().startswith("/"):
            return found[0]  # 1 101/102 is a mixed number
        return found[1] + _GROUPS.sub("", found[2])

    text = _DECIMAL_COMMA.sub(".", _GROUPED.sub(join, text))
    return _INDIAN.sub(lambda found: found[0].replace(",", ""), text)


def _strip_end(text: str) -> str:
    """Remove punctuation after the answer, and pairs of quotes and braces around it."""
    for _ in range(_LAYERS_MAX):
        before = text
        text = text.strip(" ")
        if text.endswith((".", ",", ";", ":", "!")) and not text.endswith("\\!"):
            # A factorial keeps its mark.
            if (
                text.endswith("!")
                and len(text) > 1
                and (text[-2].isalnum() or text[-2] in ")}]!")
                and not _is_words(text)
            ):
                return text
            text = text[:-1]
        text = _EDGES.sub("", text)
        if text.startswith("{") and closing(text, 0) == len(text) - 1:
            text = text[1:-1]
        if text == before:
            break
    return text


def _is_words(text: str) -> bool:
    return len(re.findall(r"[^\W\d_]{3,}", text)) > 0


def is_bracketed(text: str, index: int) -> bool:
    """Return whether a bracket is open at ``index``: ``[100,200]`` are two numbers."""
    before = text[:index]
    return any(before.count(opening) > before.count(ending) for opening, ending in ("()", "[]", ("\\{", "\\}")))


def closing(text: str, start: int) -> int:
    r"""Return the index of the brace that closes the one at ``start``, or -1; ``\{`` and ``\}`` do not count."""
    depth = 0
    index = start
    while index < len(text):
        character = text[index]
        if character == "\\":
            index += 2
            continue
        depth += (character == "{") - (character == "}")
        if depth == 0:
            return index
        index += 1
    return -1
