"""From a text to a value: notations, numbers and formulas, units, lists, relations, words."""
