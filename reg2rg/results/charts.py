"""Charts as SVG, small enough to stand in a page."""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from reg2rg.evaluate.bootstrap import Interval

_LABEL_WIDTH, _BAR_WIDTH, _NOTE_WIDTH, _ROW_HEIGHT = 230, 380, 190, 24


@dataclass(frozen=True)
class Bar:
    """One bar: a value between 0 and the chart's top, with its interval and a note at the right."""

    label: str
    value: float
    ci95: Interval | None
    note: str


def bar_chart(title: str, bars: Sequence[Bar]) -> str:
    """Horizontal bars with their intervals as whiskers, all on one scale that begins at 0.

    >>> bar_chart("F1", [Bar("Emphysema", 0.5, (0.4, 0.6), "n 5")]).count("<rect")
    1
    """
    top = max([bar.value for bar in bars] + [bar.ci95[1] for bar in bars if bar.ci95] + [1e-9])
    scale = _BAR_WIDTH / max(top, 1.0 if top > 0.5 else 0.0)
    rows = "".join(_row(bar, place * _ROW_HEIGHT, scale) for place, bar in enumerate(bars))
    width = _LABEL_WIDTH + _BAR_WIDTH + _NOTE_WIDTH
    height = len(bars) * _ROW_HEIGHT + 4
    return (
        f'<figure><figcaption>{escape(title)}</figcaption><svg viewBox="0 0 {width} {height}" role="img" '
        f'aria-label="{escape(title)}">{rows}</svg></figure>'
    )


def _row(bar: Bar, top: int, scale: float) -> str:
    middle = top + _ROW_HEIGHT // 2
    parts = [
        f'<text x="{_LABEL_WIDTH - 8}" y="{middle + 4}" text-anchor="end">{escape(bar.label)}</text>',
        f'<rect x="{_LABEL_WIDTH}" y="{top + 5}" width="{bar.value * scale:.1f}" height="{_ROW_HEIGHT - 10}"/>',
        f'<text class="note" x="{_LABEL_WIDTH + _BAR_WIDTH + 10}" y="{middle + 4}">{escape(bar.note)}</text>',
    ]
    if bar.ci95:
        low, high = (_LABEL_WIDTH + limit * scale for limit in bar.ci95)
        parts.append(f'<path d="M{low:.1f} {middle - 4}v8M{low:.1f} {middle}H{high:.1f}M{high:.1f} {middle - 4}v8"/>')
    return "".join(parts)
