"""Plots as inline SVG: no scripts, no network access, and the colours of the page's theme.

matplotlib is well maintained, in the data image already, and writes static SVG; Vega and Plotly need JavaScript. It
does not support CSS: placeholder colours are replaced by the page's custom properties, so that one plot works in light
and dark mode.
"""

import io
import re
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

WIDTH = 4.8
"""Inches: at 72 points per inch about the width of a phone, where the text is then not scaled."""

LABEL_CHARACTERS = 24
TICKS = 7

COLOURS = {
    "#0a0b01": "var(--ink)",
    "#0a0b02": "var(--faint)",
    "#0a0b11": "var(--one)",
    "#0a0b12": "var(--two)",
    "#0a0b13": "var(--three)",
    "#0a0b14": "var(--four)",
}
_INK, _FAINT, *_SERIES = COLOURS

_STYLE = {
    "svg.fonttype": "none",
    "svg.hashsalt": "fusionrun",
    "font.size": 9,
    "font.family": ["DejaVu Sans"],
    "text.color": _INK,
    "axes.labelcolor": _INK,
    "axes.edgecolor": _FAINT,
    "xtick.color": _INK,
    "ytick.color": _INK,
    "grid.color": _FAINT,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 9,
    "axes.titlelocation": "left",
}


def bars(title: str, alt: str, rows: Mapping[str, Mapping[str, float]], unit: str, *, percent: bool = False) -> str:
    """Draw horizontal stacked bars, one per row, from top to bottom; ``alt`` is the text alternative of the plot.

    All rows have the same parts. With ``percent`` the lengths are fractions, shown from 0 to 100 %.
    """
    from matplotlib import rc_context
    from matplotlib.ticker import MaxNLocator, PercentFormatter

    parts = list(next(iter(rows.values())))
    with rc_context(_STYLE):
        figure = _figure(0.75 + 0.3 * len(rows) + (0.3 if len(parts) > 1 else 0))
        axes = figure.subplots()
        labels = [_short(label) for label in rows]
        offsets = [0.0] * len(rows)
        for part, colour in zip(parts, _SERIES, strict=False):
            lengths = [row[part] for row in rows.values()]
            axes.barh(range(len(rows)), lengths, left=offsets, color=colour, height=0.7, label=part)
            offsets = [a + b for a, b in zip(offsets, lengths, strict=True)]
        axes.set_yticks(range(len(rows)), labels)
        axes.invert_yaxis()
        axes.tick_params(axis="y", length=0)
        axes.set_xlabel(unit)
        axes.xaxis.set_major_locator(MaxNLocator(5, integer=not percent))
        if percent:
            axes.set_xlim(0, 1)
            axes.xaxis.set_major_formatter(PercentFormatter(1, decimals=0))
        axes.set_axisbelow(True)
        axes.grid(axis="x", linewidth=0.5, alpha=0.6)
        if len(parts) > 1:
            figure.legend(loc="outside upper left", ncols=len(parts), frameon=False, handlelength=1)
        return _svg(figure, title, alt)


def histograms(
    title: str, alt: str, panels: Mapping[str, tuple[Sequence[float], Sequence[int]]], unit: str, *, octaves: bool
) -> str:
    """Draw histograms below each other with a common axis, which is logarithmic to base two with ``octaves``.

    A panel has the edges of the bins (one more than counts) and the counts.
    """
    from matplotlib import rc_context
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    with rc_context(_STYLE):
        figure = _figure(0.5 + 0.85 * len(panels))
        grid = figure.subplots(len(panels), 1, sharex=True, squeeze=False)
        for (label, (edges, counts)), (axes,), colour in zip(panels.items(), grid, _SERIES * len(panels), strict=False):
            axes.stairs(counts, edges, fill=True, color=colour)
            axes.set_title(_short(label))
            axes.yaxis.set_major_locator(MaxNLocator(2, integer=True))
            axes.set_ylim(bottom=0)
        axes = grid[-1][0]
        if octaves:
            least = min(edges[0] for edges, _ in panels.values())
            greatest = max(edges[-1] for edges, _ in panels.values())
            axes.set_xscale("symlog", base=2, linthresh=1)
            axes.set_xlim(least, greatest)
            ticks = [2**power for power in range(26) if least <= 2**power <= greatest]
            axes.set_xticks(ticks[:: 1 + len(ticks) // TICKS], minor=False)
            axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:,.0f}"))
            axes.minorticks_off()
        else:
            axes.xaxis.set_major_locator(MaxNLocator(6))
        axes.set_xlabel(unit)
        return _svg(figure, title, alt)


def _figure(height: float) -> Any:
    from matplotlib.figure import Figure

    return Figure(figsize=(WIDTH, height), layout="constrained")


def _short(label: str) -> str:
    shown = label if len(label) <= LABEL_CHARACTERS else label[: LABEL_CHARACTERS - 1] + "…"
    # matplotlib parses text after a dollar sign as a formula.
    return shown.replace("$", r"\$")


def _svg(figure: Any, title: str, alt: str) -> str:
    """Return the figure as an ``svg`` element with title and description, without sizes, with unique identifiers."""
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    text = buffer.getvalue()
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r'<g id="[^"]*">', "<g>", text)
    prefix = re.sub(r"\W+", "-", title.lower()).strip("-")
    text = re.sub(r'(id="|href="#|url\(#)', rf"\g<1>{prefix}-", text)
    for placeholder, colour in COLOURS.items():
        text = text.replace(placeholder, colour)
    body = text[text.index(">", text.index("<svg")) + 1 : text.rindex("</svg>")]
    view = re.search(r'viewBox="[^"]*"', text)
    assert view is not None
    return (
        f'<svg xmlns:xlink="http://www.w3.org/1999/xlink" role="img" aria-labelledby="{prefix}-t {prefix}-d" {view[0]}>'
        f'<title id="{prefix}-t">{escape(title)}</title><desc id="{prefix}-d">{escape(alt)}</desc>{body}</svg>'
    )
