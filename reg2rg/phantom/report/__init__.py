"""What a radiologist would write about a phantom, and how to read it back.

`write_report` turns findings into one text per region; `read_findings` is its inverse; `reword` does one after the
other. They know the kinds of `reg2rg.phantom.finding.KINDS`; the sentences are in one table, ``wordings.csv``.
"""

from reg2rg.phantom.report.reader import read_findings
from reg2rg.phantom.report.rewording import reword
from reg2rg.phantom.report.wordings import WORD, vocabulary
from reg2rg.phantom.report.writer import write_report, write_whole_report

__all__ = ["WORD", "read_findings", "reword", "vocabulary", "write_report", "write_whole_report"]
