"""Kinds of rows that ``construct`` writes, and its files."""

from fusionrun.api.records import PreferencePair, Row, SftExample

SFT, PAIR, HELD_OUT = "sft", "pair", "held-out"
"""Kinds of rows: SFT rows, pairs for DPO, and pairs that are held out of training to compare checkpoints."""

FILES = {SFT: "sft.parquet", PAIR: "pairs.parquet", HELD_OUT: "held-out.parquet"}
"""File name by kind of row."""
RECORDS: dict[str, type[Row]] = {SFT: SftExample, PAIR: PreferencePair, HELD_OUT: PreferencePair}
"""Record class by kind of row."""
SUMMARY_FILE = "summary.json"
"""Statistics of the responses and rows, for the data set's card."""
