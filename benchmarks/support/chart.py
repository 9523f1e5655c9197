"""A bar chart of operations per second, as SVG with its own background, for light and dark pages."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from xml.sax.saxutils import escape

from .figures import Spread
from .report import spread
from .sampling import Sample

WIDTH = 860
LEFT = 190
RIGHT = 110
TOP = 80
BAR = 15
GAP = 3
BETWEEN_GROUPS = 20
BELOW = 62
TICKS = 5
OWN = ("#a3b6ea", "#4269d0", "#27408b")
OTHER = ("#c6cdd5", "#8793a0", "#55606c")
INK, FAINT, LINES = "#1f2933", "#5b6875", "#e3e8ed"


def write_chart(file: Path, samples: Sequence[Sample], title: str, caption: Sequence[str]) -> None:
    """A group of bars for each store, in the order of ``samples``, and in it a bar for each number of callers.

    A bar is as long as the median of the rounds, and its whisker reaches from the least to the most. Stores whose
    name begins with "covey" are coloured. ``caption`` is the lines below.
    """
    names = list(dict.fromkeys(sample.name for sample in samples))
    counts = sorted({sample.callers for sample in samples})[-len(OWN) :]
    figures = {
        (name, count): spread(chosen, "ops_per_s")
        for name in names
        for count in counts
        if (chosen := [s for s in samples if (s.name, s.callers) == (name, count)])
    }
    most = max(figure.most for figure in figures.values())
    chart = _Chart(tick_step(most), most, TOP + len(names) * group_height(len(counts)) - BETWEEN_GROUPS + 8)
    parts = [*_frame(chart, title, caption), *_legend(counts), *_grid(chart)]
    for row, name in enumerate(names):
        parts += _group(chart, TOP + row * group_height(len(counts)), name, counts, figures)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("\n".join([*parts, "</svg>"]) + "\n")


def group_height(bars: int) -> int:
    return bars * (BAR + GAP) - GAP + BETWEEN_GROUPS


def tick_step(most: float) -> float:
    """A round step of which about TICKS reach ``most``."""
    rough = most / TICKS
    unit = 10.0 ** math.floor(math.log10(rough))
    return next(unit * factor for factor in (1, 2, 2.5, 5, 10) if unit * factor >= rough)


class _Chart:
    def __init__(self, step: float, most: float, bottom: int) -> None:
        self.ticks = [place * step for place in range(math.ceil(most / step) + 1)]
        self.bottom = bottom

    def x(self, rate: float) -> float:
        return LEFT + rate / self.ticks[-1] * (WIDTH - LEFT - RIGHT)


def _frame(chart: _Chart, title: str, caption: Sequence[str]) -> Iterator[str]:
    height = chart.bottom + BELOW
    yield (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" '
        'role="img" aria-labelledby="title caption" font-family="system-ui, \'DejaVu Sans\', sans-serif">'
    )
    yield f'<title id="title">{escape(title)}</title>'
    yield f'<desc id="caption">{escape(" ".join(caption))}</desc>'
    yield (
        f'<rect x="0.5" y="0.5" width="{WIDTH - 1}" height="{height - 1}" rx="12" fill="#ffffff" stroke="#c3ccd5"/>'
    )
    yield _text(24, 36, title, size=17, weight=600)
    for line, text in enumerate(reversed(caption)):
        yield _text(24, height - 16 - 17 * line, text, size=12, fill=FAINT)


def _legend(counts: Sequence[int]) -> Iterator[str]:
    for place, count in enumerate(counts):
        x = WIDTH - 24 - 125 * (len(counts) - place)
        yield f'<rect x="{x}" y="24" width="13" height="13" rx="2" fill="{_shade(OWN, place, counts)}"/>'
        yield f'<rect x="{x + 15}" y="24" width="13" height="13" rx="2" fill="{_shade(OTHER, place, counts)}"/>'
        yield _text(x + 34, 35, f"{count} callers" if count > 1 else "one caller", size=13)


def _grid(chart: _Chart) -> Iterator[str]:
    for tick in chart.ticks:
        x = chart.x(tick)
        yield f'<line x1="{x:.1f}" y1="{TOP - 8}" x2="{x:.1f}" y2="{chart.bottom}" stroke="{LINES}"/>'
        yield _text(x, TOP - 14, f"{tick:,.0f}", size=11, fill=FAINT, anchor="middle")


def _group(
    chart: _Chart, y: int, name: str, counts: Sequence[int], figures: dict[tuple[str, int], Spread]
) -> Iterator[str]:
    own = name.startswith("covey")
    middle = y + (group_height(len(counts)) - BETWEEN_GROUPS) / 2
    yield _text(LEFT - 12, middle + 5, name, size=14, weight=600 if own else 400, anchor="end")
    for place, count in enumerate(counts):
        if figure := figures.get((name, count)):
            shade = _shade(OWN if own else OTHER, place, counts)
            yield from _bar(chart, y + place * (BAR + GAP), figure, shade)


def _bar(chart: _Chart, y: int, figure: Spread, shade: str) -> Iterator[str]:
    x, least, most = (chart.x(rate) for rate in (figure.median, figure.least, figure.most))
    yield f'<rect x="{LEFT}" y="{y}" width="{x - LEFT:.1f}" height="{BAR}" rx="2" fill="{shade}"/>'
    middle, low, high = y + BAR / 2, y + 4, y + BAR - 4
    whisker = f"M{least:.1f} {low}V{high}M{least:.1f} {middle}H{most:.1f}M{most:.1f} {low}V{high}"
    yield f'<path d="{whisker}" stroke="{INK}" stroke-width="1.3" fill="none"/>'
    yield _text(max(x, most) + 8, y + BAR - 3, f"{figure.median:,.0f}", size=12)


def _shade(shades: Sequence[str], place: int, counts: Sequence[int]) -> str:
    """The more callers, the darker; of two, the lighter two."""
    return shades[place] if len(counts) > 1 else shades[1]


def _text(
    x: float, y: float, text: str, *, size: int, weight: int = 400, fill: str = INK, anchor: str = "start"
) -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" font-weight="{weight}" fill="{fill}" '
        f'text-anchor="{anchor}">{escape(text)}</text>'
    )
