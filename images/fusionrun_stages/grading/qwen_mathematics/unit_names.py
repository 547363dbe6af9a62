"""Names of units that the Qwen2.5-Math harness removes from answers.

Source: the list in ``evaluation/parser.py`` of QwenLM/Qwen2.5-Math (MIT), whose units are mainly those in the answers
of MathQA, with their misspellings. The order and the two repetitions matter: each name is removed in turn.
"""

import re

_NAMES = (  # noqa: SIM905 (a list would take a line per name)
    "east|degree|mph|kmph|ft|m sqaure| m east|sq m|deg|mile|q .|monkey|prime|ratio|profit of rs|rd|o|gm|p . m|lb|"
    "tile|per|dm|lt|gain|ab|way|west|a .|b .|c .|d .|e .|f .|g .|h .|t|a|h|no change|men|soldier|pie|bc|excess|"
    "st|inches|noon|percent|by|gal|kmh|c|acre|rise|a . m|th|π r 2|sq|mark|l|toy|coin|sq . m|gallon|° f|profit|"
    "minw|yr|women|feet|am|pm|hr|cu cm|square|v â € ™|are|rupee|rounds|cubic|cc|mtr|s|ohm|number|kmph|day|hour|"
    "minute|min|second|man|woman|sec|cube|mt|sq inch|mp|∏ cm ³|hectare|more|sec|unit|cu . m|cm 2|rs .|rs|kg|g|"
    "month|km|m|cm|mm|apple|liter|loss|yard|pure|year|increase|decrease|d|less|Surface|litre|pi sq m|s .|metre|"
    "meter|inch"
).split("|")
_UNITS = [
    (name.split(".")[0], re.compile(rf"(^|\W){name}($|\W)")) for name in (*_NAMES, *(name + "s" for name in _NAMES))
]
"""Each with the beginning that a text must contain. A point in a name stands for any character, as in the harness."""


def remove_units(text: str) -> str:
    """Remove each name that stands alone, twice, since names enclose others. A text of only one name is kept."""
    for start, unit in _UNITS * 2:
        if start in text:
            text = unit.sub(r"\1\2", text) or text
    return text
