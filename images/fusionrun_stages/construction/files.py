"""Kinds of rows that ``construct`` writes, with their files and record classes."""

from fusionrun.api.artifacts import HELD_OUT_FILE, PAIRS_FILE, SFT_FILE
from fusionrun.api.records import PreferencePair, Row, SftExample

SFT, PAIR, HELD_OUT = "sft", "pair", "held-out"
"""Kinds of rows: SFT rows, pairs for DPO, and pairs that are held out of training to compare checkpoints."""

FILES = {SFT: SFT_FILE, PAIR: PAIRS_FILE, HELD_OUT: HELD_OUT_FILE}
RECORDS: dict[str, type[Row]] = {SFT: SftExample, PAIR: PreferencePair, HELD_OUT: PreferencePair}
