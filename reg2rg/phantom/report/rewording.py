"""The same findings in other words."""

from collections.abc import Mapping
from functools import cache

import numpy as np

from reg2rg.phantom.finding import Finding
from reg2rg.phantom.report.reader import read_findings
from reg2rg.phantom.report.writer import write_report


def reword(texts: Mapping[str, str], rng: np.random.Generator) -> dict[str, str]:
    """A phantom's region texts written anew: their findings stay, their words and what is normal do not.

    A few wordings leave out an attribute (of cardiomegaly, the ratio), and then it stays out.

    Args:
        texts: region names and texts, as `write_report` made them.
        rng: chooses the words.

    >>> texts = {"lung": "A 12 mm solid nodule is seen in the left upper lobe.", "heart": "Mild cardiomegaly."}
    >>> reword(texts, np.random.default_rng(0))["lung"]
    'In the left upper lobe, there is a solid nodule of 12 mm. The pulmonary vessels are normal in course. ...'
    """
    findings = [finding for region, text in texts.items() for finding in _findings(region, text)]
    written = write_report(findings, rng)
    return {region: written[region] for region in texts}


@cache
def _findings(region: str, text: str) -> tuple[Finding, ...]:
    return tuple(finding for finding in read_findings(text, region) if finding.region == region)
