"""Tables in another format: both are read with pandas and have the same columns and contents.

Source: LiveBench 0.0.4, process_results/data_analysis/tablereformat/utils.py.
"""

import re
import warnings
from collections.abc import Callable
from io import StringIO
from typing import Any

from fusionrun_stages.grading.live_bench.rows import LiveBenchRow, UngradableError
from fusionrun_stages.grading.marks import Mark

_REQUEST = "Please convert the Input Table from "
_PHRASE = re.compile(r"^\s*(Here|Input)\b.*?\b(format|table)\s*[:)]\s*", re.IGNORECASE)
"""Words before the table, such as ``Here is the updated table:``."""
_JSON_ORIENTS: tuple[dict[str, Any], ...] = (
    {"orient": "index"},
    {"orient": "records"},
    {"orient": "records", "lines": True},
    {"orient": "table"},
    {"orient": "values"},
)
"""Forms of JSON, in the order in which they are tried."""


def grade_table(row: LiveBenchRow, text: str) -> Mark:
    """Grade a table: the same number of rows, the same names, and the same values in each column in any order."""
    request = row.prompt.partition(_REQUEST)[2]
    output_format = request.partition("format to ")[2].partition(" format")[0].lower()
    read = _READERS.get(output_format)
    if read is None:
        raise UngradableError(f"the format of the table is {output_format[:40]!r}, not one of {', '.join(_READERS)}")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            expected = read(row.ground_truth)
        except ImportError:
            raise
        except Exception as error:  # noqa: BLE001 - pandas raises almost any exception
            raise UngradableError(f"its ground_truth is no table: {error}") from None
        table = re.sub(r"^```.*\n", "", text).replace("```", "").strip()
        reason = _difference(read, table, expected)
        if reason is not None and _difference(read, _PHRASE.sub("", table).strip(), expected) is None:
            reason = None
    return Mark(1.0) if reason is None else Mark(0.0, reason, parsed=not reason.startswith("it is no table"))


def _difference(read: Callable[[str], Any], text: str, expected: Any) -> str | None:
    """Return why the tables are not equal, or None."""
    try:
        found = read(text)
        columns, expected_columns = _columns(found), _columns(expected)
        if len(found) != len(expected):
            return f"it has {len(found)} rows instead of {len(expected)}"
        if sorted(columns) != sorted(expected_columns):
            return "its columns have other names"
        for name in columns:
            if sorted(_values(found, columns, name)) != sorted(_values(expected, expected_columns, name)):
                return f"column {name!r} has other values"
    except Exception as error:  # noqa: BLE001 - pandas raises almost any exception, and values may not be comparable
        return f"it is no table: {type(error).__name__}"[:200]
    return None


def _columns(table: Any) -> list[str]:
    return [name.lower().strip() for name in table.columns]


def _values(table: Any, columns: list[str], name: str) -> list[Any]:
    (index,) = (i for i, column in enumerate(columns) if column == name)  # two columns of one name: no table
    values: list[Any] = table.iloc[:, index].tolist()
    return values


def _read_json(text: str) -> Any:
    import pandas as pd

    for options in _JSON_ORIENTS[:-1]:
        try:
            return pd.read_json(StringIO(text), **options)
        except Exception:  # noqa: BLE001, S112 - the next form is tried
            continue
    return pd.read_json(StringIO(text), **_JSON_ORIENTS[-1])


def _read_json_lines(text: str) -> Any:
    import pandas as pd

    return pd.read_json(StringIO(text), orient="records", lines=True)


def _read_html(text: str) -> Any:
    import pandas as pd

    return pd.concat(pd.read_html(StringIO(text), flavor="lxml"), axis=0)


def _read_csv(text: str) -> Any:
    import pandas as pd

    return pd.read_csv(StringIO(text))


def _read_tsv(text: str) -> Any:
    import pandas as pd

    return pd.read_csv(StringIO(text), sep="\t")


def _read_markdown(text: str) -> Any:
    import pandas as pd

    return pd.read_table(StringIO(text), sep="|", header=0, index_col=1, skipinitialspace=True)


_READERS: dict[str, Callable[[str], Any]] = {
    "json": _read_json,
    "jsonl": _read_json_lines,
    "html": _read_html,
    "csv": _read_csv,
    "tsv": _read_tsv,
    "markdown": _read_markdown,
}
