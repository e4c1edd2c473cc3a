"""Bars as SVG, small enough to stand in the cell of a table."""

from reg2rg.evaluate.bootstrap import Interval
from reg2rg.results.figures import exists

_WIDTH, _HEIGHT = 200, 14


def bar(value: float, ci95: Interval | None, top: float = 1.0) -> str:
    """A horizontal bar with its interval as a whisker; nothing for a figure that does not exist.

    Args:
        value: how long it is, from 0 to `top`.
        ci95: its interval.
        top: the value that fills the width.

    >>> bar(0.5, (0.4, 0.6)).count("<rect"), bar(float("nan"), None)
    (1, '')
    """
    if not exists(value):
        return ""
    scale = _WIDTH / top
    whisker = ""
    if ci95:
        low, high = (limit * scale for limit in ci95)
        whisker = f'<path d="M{low:.1f} 3v8M{low:.1f} 7H{high:.1f}M{high:.1f} 3v8"/>'
    return (
        f'<svg class="bar" viewBox="-1 0 {_WIDTH + 2} {_HEIGHT}" aria-hidden="true">'
        f'<rect x="0" y="1" width="{value * scale:.1f}" height="{_HEIGHT - 2}"/>{whisker}</svg>'
    )
