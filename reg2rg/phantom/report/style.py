"""The habits of the radiologist who writes a report: which wordings, and how they are put together."""

from collections.abc import Sequence
from dataclasses import dataclass

from reg2rg.phantom.report.wordings import SEEN_WORDS


@dataclass(frozen=True)
class Style:
    """One radiologist's habits.

    Attributes:
        index: position in `STYLES`; tells which wordings are preferred.
        seen: the word for "seen".
        lists_denials: several denials of a region become one sentence.
        joins_findings: two findings of a region may share a sentence.
        counts: several findings of a kind are counted first.
    """

    index: int
    seen: str
    lists_denials: bool
    joins_findings: bool
    counts: bool

    def preferred(self, options: Sequence[str], count: int) -> tuple[str, ...]:
        """Those of the options that this style uses: neighbours in their list, which overlap with other styles' ones.

        >>> [STYLES[index].preferred("abcdefgh", 3) for index in (0, 1, 7)]
        [('a', 'b', 'c'), ('b', 'c', 'd'), ('h', 'a', 'b')]
        """
        start = self.index * len(options) // len(STYLES)
        return tuple(options[(start + step) % len(options)] for step in range(min(count, len(options))))

    def usual(self, options: Sequence[str]) -> str:
        """The one of several words of the same meaning that this style uses."""
        return options[self.index % len(options)]


STYLES: tuple[Style, ...] = tuple(
    Style(index, SEEN_WORDS[index % len(SEEN_WORDS)], index % 2 == 1, index % 4 in (0, 3), index % 3 == 0)
    for index in range(8)
)
