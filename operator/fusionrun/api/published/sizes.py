"""Published sizes of the recipe's data sets, and the allowed difference from them.

Source: README of SLIT-AI/FuseChat-3.0, table "Datasets", and Table 1 of the paper (arXiv 2503.04222).
"""

from dataclasses import dataclass

from fusionrun.api.spec.data import Preset

TOLERANCE = 0.2
"""Largest relative difference from a published size without a warning. Project."""


@dataclass(frozen=True)
class Sizes:
    """Sizes of the training data from a data set."""

    sft_rows: int
    pairs: int

    @property
    def total(self) -> int:
        """SFT rows and pairs together."""
        return self.sft_rows + self.pairs


PUBLISHED: dict[Preset, Sizes] = {
    Preset.ULTRA_FEEDBACK: Sizes(20_439, 30_659),
    Preset.MAGPIE_PRO_DPO: Sizes(8_149, 12_225),
    Preset.HELP_STEER_2: Sizes(3_774, 5_661),
    Preset.OPEN_MATH_INSTRUCT_2: Sizes(40_188, 11_615),
    Preset.LEETCODE: Sizes(1_877, 1_236),
    # It has the problems of the same site, with tests, and takes the place of leetcode.
    Preset.LEETCODE_DATASET: Sizes(1_877, 1_236),
    Preset.SELF_OSS_INSTRUCT: Sizes(10_160, 2_732),
    Preset.ALPACA_GPT4_ZH: Sizes(2_471, 0),
    Preset.MAGPIE_QWEN2_CHINESE: Sizes(7_481, 0),
}
"""By preset: the published numbers of SFT rows and pairs."""


def difference(size: int, published: int) -> float | None:
    """Return the difference relative to the published size, such as -0.5 for half of it; None if that is 0."""
    return size / published - 1 if published else None


def size_warning(sizes: Sizes, published: Sizes) -> str | None:
    """Describe how sizes differ from the published ones; None if both are within ``TOLERANCE``."""
    sides = [
        _described(name, getattr(sizes, field), getattr(published, field))
        for name, field in (("SFT rows", "sft_rows"), ("pairs", "pairs"))
    ]
    return "; ".join(side for side in sides if side) or None


def _described(name: str, size: int, published: int) -> str | None:
    share = difference(size, published)
    if share is None:
        return f"{size:,} {name}, the recipe has none" if size else None
    return f"{size:,} {name}, the recipe has {published:,} ({share:+.0%})" if abs(share) > TOLERANCE else None
