"""The text around the model: the prompt, the answer it is trained on, and the answer read back.

Region-report alignment (Chen et al., IEEE TMI 2025, section III-C): regions stand in the prompt by number alone; the
answer first names each, then reports on it.

``parse_report`` is the inverse of ``build_target`` for every text that keeps to the grammar. Out of contract are texts
that begin or end with blanks, that hold a heading themselves ("The region 3 is ", "The other report is") or end with
the beginning of one, names with a colon or other punctuation, and braces in the texts of the other report.
"""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from reg2rg.errors import InputError
from reg2rg.regions import REGIONS, find_region
from reg2rg.tokens import SpecialTokens

INSTRUCTION = (
    "Given the provided global and regional information from this CT scan, please generate a comprehensive medical "
    "report for each region. First, identify the anatomical area corresponding to each region, then provide detailed "
    "information about these anatomical structures and any abnormalities that are essential. You can refer to the "
    "global information as the context and take it as a supplement when generating each region report."
)
OTHER_INSTRUCTION = (
    "For those reports that have no specific region associated with them, generate an 'other report' at the end."
)
"""What the prompt asks besides where reports speak of regions without a mask (CTRG-Chest-548K)."""

OTHER_TITLE = "other"
"""The last entry of an other report: what belongs to no region at all."""


def build_prompt(num_regions: int, tokens: SpecialTokens, with_other: bool = False) -> str:
    """The published prompt: the image, the regions by number, the instruction.

    Args:
        num_regions: regions of this study, 1 to ``tokens.max_regions``.
        tokens: the model's special tokens.
        with_other: ask for an other report too.

    Raises:
        InputError: if the model has no slot for that many regions, or there is none to report on.

    >>> build_prompt(1, SpecialTokens(num_latents=1, max_regions=2))
    'The global information is provided as the context: <image><image0></image>. The region 0 is
    <region><region0><region1></region>. Given the provided ...'
    """
    if not 1 <= num_regions <= tokens.max_regions:
        raise InputError(
            f"expected 1 to {tokens.max_regions} regions in a prompt, got {num_regions}; "
            "give masks of that many regions, or another model"
        )
    image = f"The global information is provided as the context: {tokens.image_text}."
    regions = [f"The region {slot} is {tokens.region_text(slot)}." for slot in range(num_regions)]
    return " ".join([image, *regions, INSTRUCTION, *([OTHER_INSTRUCTION] if with_other else [])])


def build_target(findings: Sequence[tuple[str, str]], other: Mapping[str, str] | None = None) -> str:
    """The answer the model is trained on; ends with a blank unless there is an other report, as published.

    Args:
        findings: (region name, text) in the order of the prompt; the text may be empty.
        other: title and text of what belongs to no region of the prompt, in the order in which it is written.

    >>> build_target([("lung", "Clear."), ("heart", "")])
    'The region 0 is lung: Clear. The region 1 is heart:  '
    >>> build_target([("lung", "Clear.")], {"pleura": "No effusion.", "other": ""})
    'The region 0 is lung: Clear. The other report is: {pleura: No effusion.}{other: }'
    """
    target = "".join(f"{_heading(index, name)}{text} " for index, (name, text) in enumerate(findings))
    if other:
        target += "The other report is: " + "".join(f"{{{title}: {text}}}" for title, text in other.items())
    return target


def text_spans(findings: Sequence[tuple[str, str]]) -> list[tuple[int, int]]:
    """Where each region's text lies in the answer that `build_target` makes: its first letter and the one behind it.

    >>> findings = [("lung", "Clear."), ("heart", "Normal.")]
    >>> [build_target(findings)[begin:end] for begin, end in text_spans(findings)]
    ['Clear.', 'Normal.']
    """
    spans: list[tuple[int, int]] = []
    end = -1
    for index, (name, text) in enumerate(findings):
        begin = end + 1 + len(_heading(index, name))
        end = begin + len(text)
        spans.append((begin, end))
    return spans


def _heading(index: int, name: str) -> str:
    return f"The region {index} is {name}: "


@dataclass(frozen=True)
class ParsedFinding:
    """One region of a report as it was written: its number, its name ('' where none can be told), its text."""

    index: int
    name: str
    text: str

    @property
    def recognized_as(self) -> str | None:
        """The one of the ten regions that is named; another name as it stands; None without one."""
        region = find_region(self.name)
        return region.name if region else self.name or None


@dataclass(frozen=True)
class ParsedReport:
    """A report taken apart.

    Attributes:
        findings: in the order of the text; repeated and invented regions are in it as written.
        other: the entries of the other report, title to text.
        problems: a line for each departure from the grammar, with any text that fell out of it.
    """

    findings: tuple[ParsedFinding, ...]
    other: dict[str, str]
    problems: tuple[str, ...]

    def of_slot(self, index: int) -> ParsedFinding | None:
        """What is written of a region of the prompt, at first if it comes again; None if nothing is."""
        return next((finding for finding in self.findings if finding.index == index), None)


def parse_report(text: str) -> ParsedReport:
    """Takes a report apart: the inverse of `build_target`. Never raises, whatever a model wrote.

    A name ends at its colon. Where the colon is missing, one of the ten regions is recognized by its name, and
    anything else is text without a name. Text that merely stops is taken as it is.

    >>> report = parse_report("The region 0 is lung: Clear. The region 1 is trachea and bronchie: Open. ")
    >>> report.findings[1]
    ParsedFinding(index=1, name='trachea and bronchie', text='Open.')
    >>> parse_report("The region 0 is spleen: Large. The region 1 is").problems
    ("region 0: 'spleen' is none of the ten regions", 'cut off in a heading: The region 1 is')
    """
    headings = list(_HEADING.finditer(text))
    ends = [*(heading.start() for heading in headings), len(text)]
    findings: list[ParsedFinding] = []
    other: dict[str, str] = {}
    problems = [f"text ahead of every region: {before}" for before in [text[: ends[0]].strip()] if before]
    for heading, end in zip(headings, ends[1:], strict=True):
        body = text[heading.end() : end]
        if heading["index"]:
            finding, found = _read_finding(int(heading["index"]), body)
            findings.append(finding)
        elif heading["other"]:
            found = _read_other(body, other)
        else:
            found = [f"cut off in a heading: {heading.group().strip()}"]
        problems += found
    return ParsedReport(tuple(findings), other, (*problems, *_order_problems(findings)))


def join_answers(answers: Sequence[tuple[Sequence[int], str]]) -> tuple[str, str]:
    """One report of answers to several prompts, each of which asked for some of the regions.

    Args:
        answers: the regions that were asked for, by their number in the report, in the order of the prompt; and what
            was written of them, numbered as they stood there.

    Returns:
        the report, and what was written beyond: of regions that a prompt did not have, which are not in the report.

    >>> lung, heart = "The region 0 is lung: Clear. The region 1 is bone: No.", "The region 0 is heart: Large."
    >>> join_answers([([0], lung), ([1], heart)])
    ('The region 0 is lung: Clear. The region 1 is heart: Large.', 'The region 1 is bone: No.')
    """
    kept, beyond = [], []
    for regions, answer in answers:
        text = answer.strip()
        headings = list(_NUMBERED.finditer(text))
        end = next((found.start() for found in headings if int(found["index"]) >= len(regions)), len(text))
        beyond.append(text[end:].strip())
        kept.append(_NUMBERED.sub(lambda found: f"The region {regions[int(found['index'])]} is", text[:end]).strip())  # noqa: B023
    return " ".join(filter(None, kept)), " ".join(filter(None, beyond))


def strip_region_text(text: str) -> str:
    """The plain text of a report, without headings and braces: what text metrics compare.

    >>> strip_region_text("The region 0 is lung: Clear. The other report is: {pleura: No effusion.}{other: }")
    'Clear. No effusion.'
    """
    text = _TITLE.sub(" ", _PREFIX.sub(" ", text))
    return " ".join(text.replace("}", " ").split())


_LONGEST_NAME = 5  # words; more than that before a colon is a sentence
_WORD = r"[^\s:.,;{}]+"
_NAME = rf"{_WORD}(?:\s+{_WORD}){{0,{_LONGEST_NAME - 1}}}"
_HEADING = re.compile(
    r"The\s+(?:"
    r"region\s+(?P<index>\d{1,3})\s+is\b(?!\s*\Z)"
    r"|(?P<other>other\s+report\s+is\b)"
    r"|(?:region(?:\s+\d{1,3}(?:\s+is)?)?|other(?:\s+report)?)\s*\Z"  # the report was cut off here
    r")"
)
_NUMBERED = re.compile(r"The\s+region\s+(?P<index>\d{1,3})\s+is\b")
_NAME_AND_COLON = re.compile(rf"\s*(?P<name>{_NAME})\s*:")
_KNOWN_NAMES = sorted((name for region in REGIONS for name in (region.name, *region.synonyms)), key=len, reverse=True)
_KNOWN_NAME = re.compile(rf"\s*(?P<name>{'|'.join(_KNOWN_NAMES)})\b", re.IGNORECASE)
_PREFIX = re.compile(rf"The\s+region\s+\d{{1,3}}\s+is\s+{_NAME}\s*:|The\s+other\s+report\s+is\b\s*:?")
_TITLE = re.compile(r"\{[^:{}]*:")


def _read_finding(index: int, body: str) -> tuple[ParsedFinding, list[str]]:
    named = _NAME_AND_COLON.match(body)
    if named:
        name = named["name"]
        invented = [] if find_region(name) else [f"region {index}: {name!r} is none of the ten regions"]
        return ParsedFinding(index, name, body[named.end() :].strip()), invented
    if any(name.startswith(body.strip()) for name in _KNOWN_NAMES):
        return ParsedFinding(index, body.strip(), ""), [f"region {index}: cut off in the name {body.strip()!r}"]
    known = _KNOWN_NAME.match(body)
    name, text = (known["name"], body[known.end() :]) if known else ("", body)
    return ParsedFinding(index, name, text.strip()), [f"region {index}: no colon after the name"]


def _read_other(body: str, other: dict[str, str]) -> list[str]:
    """Adds the entries of an other report to `other`; returns the problems."""
    problems = []
    outside, *pieces = body.split("{")
    if not outside.lstrip().startswith(":"):
        problems.append("no colon after 'The other report is'")
    loose = [outside.strip().removeprefix(":")]
    for piece in pieces:
        inside, brace, after = piece.partition("}")
        title, colon, entry = inside.partition(":")
        title, entry = (title.strip(), entry.strip()) if colon else ("", inside.strip())
        loose.append(after)
        if not colon:
            problems.append(f"no title in the braces: {entry}")
        if not brace:
            problems.append(f"unclosed brace: {title or entry}")
        if title in other:
            problems.append(f"the other report has {title!r} twice")
            entry = f"{other[title]} {entry}".strip()
        other[title] = entry
    return problems + [f"text outside of braces: {text.strip()}" for text in loose if text.strip()]


def _order_problems(findings: list[ParsedFinding]) -> list[str]:
    indices = [finding.index for finding in findings]
    names = [finding.name for finding in findings if finding.name]
    problems = [f"region {index} comes {count} times" for index, count in Counter(indices).items() if count > 1]
    problems += [f"{name!r} is named {count} times" for name, count in Counter(names).items() if count > 1]
    if indices != sorted(indices):
        problems.append(f"regions are out of order: {', '.join(map(str, indices))}")
    missing = sorted(set(range(max(indices, default=0))) - set(indices))
    if missing:
        problems.append(f"regions are missing: {', '.join(map(str, missing))}")
    return problems
