"""The warning if the size of a data set differs from that of the recipe."""

import pytest

from fusionrun.api.published.sizes import PUBLISHED, Sizes, size_warning
from fusionrun.api.spec.data import Preset


@pytest.mark.parametrize(
    ("found", "warning"),
    [
        (Sizes(100, 50), None),
        (Sizes(80, 60), None),
        (Sizes(120, 40), None),
        (Sizes(79, 50), "79 SFT rows, the recipe has 100 (-21%)"),
        (Sizes(100, 61), "61 pairs, the recipe has 50 (+22%)"),
        (Sizes(0, 2000), "0 SFT rows, the recipe has 100 (-100%); 2,000 pairs, the recipe has 50 (+3900%)"),
    ],
)
def test_a_warning_is_given_beyond_twenty_percent(found, warning):
    assert size_warning(found, Sizes(100, 50)) == warning


def test_pairs_are_a_difference_if_the_recipe_has_none():
    published = PUBLISHED[Preset.ALPACA_GPT4_ZH]
    assert size_warning(Sizes(2471, 0), published) is None
    assert size_warning(Sizes(2471, 3), published) == "3 pairs, the recipe has none"
