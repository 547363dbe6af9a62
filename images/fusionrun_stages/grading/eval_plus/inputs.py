"""The inputs of MBPP+: its JSON has lists where functions take tuples, sets and complex numbers.

Notes
-----
Source: evalplus 0.3.1, ``evalplus.data.mbpp.mbpp_deserialize_inputs``: the forms by number of the task.
"""

from collections.abc import Callable
from typing import Any

_Form = Callable[[list[Any]], Any]


def _tuples(values: Any) -> list[tuple[Any, ...]]:
    return [tuple(value) for value in values]


def _deep_tuple(value: Any) -> Any:
    return tuple(map(_deep_tuple, value)) if isinstance(value, list) else value


def _sets(values: Any) -> list[Any]:
    # An empty set is an empty dictionary in the official code.
    return [set(value) if isinstance(value, list) and value else {} for value in values]


_FORMS: list[tuple[tuple[int, ...], _Form]] = [
    (
        (2, 116, 132, 143, 222, 261, 273, 394, 399, 421, 424, 429, 470, 560, 579, 596, 616, 630, 726, 740, 744, 809),
        _tuples,
    ),
    (
        (63, 64, 70, 94, 120, 237, 272, 299, 400, 409, 417, 438, 473, 614, 780),
        lambda given: [_tuples(value) for value in given],
    ),
    ((75, 413, 444, 753), lambda given: [_tuples(given[0]), given[1]]),
    ((106, 750), lambda given: [given[0], tuple(given[1])]),
    ((115,), lambda given: [_sets(given[0])]),
    ((124,), lambda given: (float(given[0]), complex(given[1]))),
    ((250, 405, 446, 617, 720, 763, 808), lambda given: [tuple(given[0]), given[1]]),
    ((259, 401, 445), lambda given: [tuple(_tuples(value)) for value in given]),
    ((278,), lambda given: [tuple(tuple(item) if isinstance(item, list) else item for item in given[0])]),
    ((307,), lambda given: [tuple(given[0]), given[1], given[2]]),
    ((722,), lambda given: [{key: tuple(value) for key, value in given[0].items()}, *given[1:]]),
    ((252,), lambda given: [complex(given[0])]),
    ((580, 615, 791), _deep_tuple),
]
_FORM_OF = {number: form for numbers, form in _FORMS for number in numbers}


def restore(task_id: str, inputs: Any) -> list[tuple[Any, ...]]:
    """Return the arguments of each call. Raise ValueError if they do not have the form of the task.

    A few rows have ``{}`` instead of a list: no inputs.
    """
    if inputs in ({}, None):
        return []
    benchmark, _, number = task_id.rpartition("/")
    form = _FORM_OF.get(int(number), list) if benchmark == "Mbpp" and number.isdecimal() else list
    if not isinstance(inputs, list) or not all(isinstance(given, list) for given in inputs):
        raise ValueError("the inputs are not lists of arguments")
    try:
        return [tuple(form(given)) for given in inputs]
    except (TypeError, LookupError, AttributeError) as error:
        raise ValueError(f"the inputs do not have the form of {task_id}: {error}") from None
