"""Units of measurement: names, dimensions and factors.

A word that is not in the table is no dimension: ``5 apples`` is the number 5.
"""

import re
from dataclasses import dataclass
from fractions import Fraction


@dataclass(frozen=True)
class Unit:
    """A unit; ``dimension`` is empty for a word without one."""

    dimension: str
    factor: Fraction
    name: str


_TABLE = {
    "length": {
        "mm millimeter millimeters millimetre millimetres 毫米": "0.001",
        "cm centimeter centimeters centimetre centimetres 厘米": "0.01",
        "dm decimeter decimeters 分米": "0.1", "m meter meters metre metres 米": "1",
        "km kilometer kilometers kilometre kilometres 千米 公里": "1000", "in inch inches": "0.0254",
        "ft foot feet": "0.3048",
        "yd yard yards": "0.9144", "mi mile miles": "1609.344",
    },
    "mass": {
        "mg milligram milligrams 毫克": "0.001", "g gram grams 克": "1", "kg kilogram kilograms 千克 公斤": "1000",
        "ton tons tonne tonnes 吨": "1000000", "oz ounce ounces": "28.349523125", "lb lbs": "453.59237",
    },
    "time": {
        "ms millisecond milliseconds": "0.001", "s sec secs second seconds 秒": "1",
        "min mins minute minutes 分钟": "60",
        "h hr hrs hour hours 小时": "3600", "day days 天": "86400", "week weeks 周 星期": "604800",
    },
    "volume": {"ml mL milliliter milliliters millilitre millilitres 毫升": "0.001", "cl": "0.01",
               "l L liter liters litre litres 升": "1"},
    "dollars": {"dollar dollars USD usd \\dollar": "1", "cent cents ¢": "0.01"},
    "yuan": {"元 yuan RMB 人民币": "1", "角": "0.1"},
    "euros": {"€ euro euros EUR": "1"},
    "sterling": {"£ GBP": "1"},
    "rupees": {"₹ Rs rupee rupees INR": "1"},
    "angle": {"\\deg deg degree degrees 度": "1"},
    "radians": {"rad rads radian radians": "1"},
    "celsius": {"\\degC ℃ celsius": "1"},
    "fahrenheit": {"\\degF ℉ fahrenheit": "1"},
    "bytes": {"byte bytes": "1"},
}  # fmt: skip
# Sources: the international yard and pound agreement of 1959; the other factors are decimal or by the SI's definition.
UNITS = {
    name: Unit(dimension, Fraction(factor), name)
    for dimension, names in _TABLE.items()
    for words, factor in names.items()
    for name in words.split()
}
LETTERS = frozenset({"m", "g", "s", "h", "l", "L"})
"""Names that are also variables: units only if white space parts them from the number."""

_WORD = r"(?:\\deg ?[CF]?|\\dollar|[^\W\d_\\]+|[%¢€£₹℃℉])"
_SIMPLE = re.compile(rf"(?:(square|sq\.?|cubic|cu\.?) )?({_WORD})(?: ?\^ ?\{{?([23])\}}?|([23])| (squared|cubed))?")
_POWERS = {"square": 2, "sq": 2, "cubic": 3, "cu": 3, "squared": 2, "cubed": 3, "2": 2, "3": 3}
_SPEEDS = {"mph": "miles/hour", "kph": "km/h", "kmh": "km/h"}
_WORDS = re.compile(r"[^\W\d_](?:[^\W\d_]|[ .'/-])*(?:\([^\W\d_]+\))?(?: ?\^ ?\{?[23]\}?)?")
_NO_UNITS = frozenset(
    ["to", "of", "out", "in", "and", "or", "over", "by", "times", "plus", "minus", "more", "less", "than",
     "not", "squared", "cubed", "factorial", "half", "halves", "third", "thirds", "quarter", "quarters",
     "fourths", "fifths", "tenths", "hundredths", "thousandths", "root", "power", "mod", "modulo", "choose",
     "if", "where", "when", "for", "with", "is", "are", "divided", "multiplied", "base", "percent", "dozen",
     "pairs", "pair", "point", "a", "an", "but", "as", "at"]
)  # fmt: skip
"""Words after a number that may change its value."""
NAME_MAX = 60


def read_unit(text: str) -> Unit | None:
    """Return the unit; a unit without dimension for other words; None if it is neither."""
    text = text.strip(" .")
    if not text or len(text) > NAME_MAX:
        return None
    text = _SPEEDS.get(text.lower(), text)
    if len(parts := re.split(r" ?/ ?| per ", text)) == 2:
        over, under = _simple(parts[0]), _simple(parts[1])
        if over and under and over.dimension and under.dimension:
            return Unit(f"{over.dimension}/{under.dimension}", over.factor / under.factor, text)
        return _other(text)
    return _simple(text) or _other(text)


def _other(text: str) -> Unit | None:
    if _WORDS.fullmatch(text) and _NO_UNITS.isdisjoint(re.split("[ .'/()-]+", text.lower())):
        return Unit("", Fraction(1), text)
    return None


def _simple(text: str) -> Unit | None:
    found = _SIMPLE.fullmatch(text.strip())
    if found is None:
        return None
    name = found[2].replace(" ", "")
    unit = UNITS.get(name) or UNITS.get(name.lower())
    if unit is None:
        return None
    power = 1
    for mark in (found[1], found[3], found[4], found[5]):
        if mark:
            power = _POWERS[mark.strip(".")]
    if power == 1:
        return unit
    if unit.dimension != "length":
        return None
    return Unit(f"length^{power}", unit.factor**power, text)
