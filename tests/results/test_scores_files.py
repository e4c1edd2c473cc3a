"""What an evaluation writes: the command line, the folder, the page, the table."""

import csv
import hashlib
import io
import json
from dataclasses import replace
from html.parser import HTMLParser
from importlib.metadata import version
from pathlib import Path
from xml.etree import ElementTree

import jsonschema
import numpy as np
import pytest
from pytest import CaptureFixture
from rich.console import Console

from reg2rg.cli import main
from reg2rg.evaluate.evaluation import EvaluationSettings, evaluate_table
from reg2rg.evaluate.examples import pick_examples
from reg2rg.evaluate.scores import Scores, scores_schema
from reg2rg.evaluate.tables import ReportTable, read_reports
from reg2rg.files import sha256
from reg2rg.results.charts import bar
from reg2rg.results.comparison import compared_figures
from reg2rg.results.scores_csv import scores_row, write_tables
from reg2rg.results.scores_html import scores_to_html
from reg2rg.results.scores_text import print_scores

ROWS = [
    ("AccNum", "Question", "GT_combined_report", "Pred_combined_report"),
    (
        "1",
        "q",
        "The region 0 is lung: No nodule. The region 1 is heart: The heart is enlarged <3. ",
        "The region 0 is lung: No. ",
    ),
    ("2", "q", "The region 0 is heart: Normal. ", "The region 0 is spleen: <b>Normal</b>. "),
]


@pytest.fixture
def predictions(tmp_path: Path) -> Path:
    path = tmp_path / "predictions.csv"
    with path.open("w", newline="") as file:
        csv.writer(file).writerows(ROWS)
    return path


def test_the_folder(tmp_path: Path, predictions: Path, capsys: CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    assert main(["evaluate", str(predictions), "--out", str(out)]) == 0
    printed = capsys.readouterr().out
    assert "BLEU-4" in printed
    assert "spleen (invented)" in printed
    assert {path.name for path in out.iterdir()} == {
        *("scores.json", "scores.csv", "scores_regions.csv", "scores.html", "run.json"),
        *("scores_per_study.csv", "scores_abnormalities.csv", "scores_recognition.csv"),
    }
    value = json.loads((out / "scores.json").read_text())
    jsonschema.validate(value, scores_schema())
    with (out / "scores.csv").open(newline="", encoding="utf-8") as file:
        (row,) = csv.DictReader(file)
    assert row["ROUGE-1"] == f"{value['text']['ROUGE-1']['mean']:.4f}±{value['text']['ROUGE-1']['std']:.4f}"
    with (out / "scores_regions.csv").open(newline="", encoding="utf-8") as file:
        assert [row["region"] for row in csv.DictReader(file)] == ["heart", "lung"]
    record = json.loads((out / "run.json").read_text())
    assert record["settings"]["recipe"] == "published"
    assert record["sha256"] == value["sha256"] == {str(predictions): sha256(predictions)}
    assert value["version"] == record["versions"]["reg2rg"]
    assert main(["evaluate", str(predictions), "--out", str(out), "--force"]) == 0


def test_tables(tmp_path: Path, predictions: Path, capsys: CaptureFixture[str]) -> None:
    scores = evaluate_table(read_reports(predictions))
    write_tables(tmp_path, scores)
    tables = {}
    for path in tmp_path.iterdir():
        with path.open(newline="", encoding="utf-8") as file:
            tables[path.stem.removeprefix("scores_")] = list(csv.DictReader(file))
    assert [row["AccNum"] for row in tables["per_study"]] == ["1", "2"]
    for name, values in scores.per_report.items():
        assert [float(row[name]) for row in tables["per_study"]] == values.tolist()
    counts = [[row[name] for name in ("hits", "predicted", "referenced")] for row in tables["per_study"]]
    assert counts == [["0", "0", "1"], ["0", "0", "0"]]
    rows = {row["abnormality"]: row for row in tables["abnormalities"]}
    assert list(rows)[:3] == ["micro average", "macro average", "weighted average"]
    assert len(rows) == 3 + 18
    assert (rows["Cardiomegaly"]["recall"], rows["Cardiomegaly"]["support"]) == ("0.0", "1")
    assert {rows["Emphysema"][name] for name in ("recall", "recall_ci95_low", "f1", "f1_ci95_high")} == {""}
    rows = {row["region"]: row for row in tables["recognition"]}
    assert (rows["mean over reports"]["recall"], rows["mean over reports"]["precision"]) == ("0.25", "")
    assert float(rows["micro average"]["recall"]) == pytest.approx(1 / 3)


def test_json_and_choices(tmp_path: Path, predictions: Path, capsys: CaptureFixture[str]) -> None:
    arguments = ["evaluate", str(predictions), "--json", "--metrics", "ROUGE-L,BLEU-1", "--labeler", "none"]
    assert main([*arguments, "--only-common", "--compare", str(predictions), "--recipe", "stemmed"]) == 0
    value = json.loads(capsys.readouterr().out)
    assert (value["recipe"], value["clinical"], value["settings"]["only_common"]) == ("stemmed", None, True)
    assert list(value["regions"]) == ["lung"]
    assert value["version"] == version("reg2rg")
    assert value["sha256"] == {str(predictions): hashlib.sha256(predictions.read_bytes()).hexdigest()}
    assert value["comparison"]["differences"]["ROUGE-L"] == {"value": 0.0, "ci95": None, "p": 1.0}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["absent.csv"], "cannot read it"),
        (["predictions.csv", "--recipe", "mine"], "unknown recipe 'mine'"),
        (["predictions.csv", "--metrics", "BLUE"], "unknown metric 'BLUE'"),
        (["predictions.csv", "--metrics", ""], "expected at least one metric, got none"),
        (["predictions.csv", "--labels", "absent.csv"], "absent.csv"),
        (["predictions.csv", "--compare", "other.csv"], "other.csv: it lacks '1' (2 of 2 studies)"),
        (["predictions.csv", "--labeler", "nobody"], "nobody"),
        (["other.csv", "--only-common"], "--only-common needs references with regions"),
    ],
)
def test_refusals_leave_nothing_behind(
    tmp_path: Path,
    predictions: Path,
    capsys: CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "other.csv").write_text("AccNum,reference,prediction\n9,a,b\n")
    assert main(["evaluate", *arguments, "--out", "out"]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert message in err
    assert err.count("\n") == 1
    assert not (tmp_path / "out").exists()


class Page(HTMLParser):
    """Collects what a page would fetch, and its text."""

    def __init__(self) -> None:
        super().__init__()
        self.fetched: list[str] = []
        self.marked: list[str] = []
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.fetched += [value or "" for name, value in attrs if name in ("src", "href")]
        self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        while self.open and self.open.pop() != tag:
            pass

    def handle_data(self, data: str) -> None:
        if "mark" in self.open:
            self.marked.append(data)


@pytest.fixture
def table() -> ReportTable:
    keys, _, references, predictions = zip(*ROWS[1:], strict=True)
    return ReportTable("a.csv", keys, references, predictions)


def read_page(scores: Scores, table: ReportTable) -> tuple[str, Page]:
    html = scores_to_html(scores, pick_examples(scores, table))
    page = Page()
    page.feed(html)
    return html, page


def test_the_page(table: ReportTable) -> None:
    html, page = read_page(evaluate_table(table, EvaluationSettings(labeler="none"), control=table), table)
    assert page.fetched == []
    assert "http" not in html
    assert "The heart is enlarged <3." in page.marked
    assert "<b>Normal</b>." in page.marked
    assert "<b>Normal" not in html
    assert "not a medical device" in html
    assert "This report is unverified" not in html
    for drawing in html.split("<svg")[1:]:
        ElementTree.fromstring("<svg" + drawing.split("</svg>")[0] + "</svg>")


def test_the_page_names_findings_only_where_texts_were_read(table: ReportTable) -> None:
    read, _ = read_page(evaluate_table(table), table)
    assert "missed: Cardiomegaly · added: none" in read
    assert 'class="unshared"' not in read
    unread, page = read_page(evaluate_table(table, EvaluationSettings(labeler="none")), table)
    assert "missed: " not in unread.split("<body>")[1]
    assert 'class="missed"' not in unread
    assert "marked" in page.marked, "the legend"
    present, absent = np.eye(2, 18, dtype=bool), np.zeros((2, 18), bool)
    labeled = replace(table, reference_labels=present, predicted_labels=absent)
    given, _ = read_page(evaluate_table(labeled), labeled)
    assert "missed: Medical material · added: none" in given
    assert "missed: Arterial wall calcification · added: none" in given
    assert 'class="missed"' not in given


def test_comparisons_are_shown_in_full(table: ReportTable) -> None:
    perfect = replace(table, source="folder/perfect.csv", predictions=table.references)
    scores = evaluate_table(table, compare=perfect, control=table)
    console = Console(file=io.StringIO(), width=80)
    print_scores(scores, console)
    text = console.file.getvalue()  # type: ignore[attr-defined]
    html, _ = read_page(scores, table)
    for output in (text, html):
        assert "Compared with perfect.csv" in output
        assert "Control without the image: a.csv" in output
    row = next(line.split() for line in text.splitlines() if line.startswith("accuracy per report"))
    assert row[3:6] == ["0.2500", "1.0000", "-0.7500"]
    row = next(line.split() for line in text.splitlines() if line.startswith("micro F1"))
    assert row[2:5] == ["0.0000", "1.0000", "-1.0000"]
    row = next(line.split() for line in text.splitlines() if line.startswith("heart") and " to " in line)
    assert len(row) == 8, "both means, their difference, its interval, p"
    assert [figure.group for figure in compared_figures(scores, scores.comparison)] == [  # type: ignore[arg-type]
        *(["Text"] * 9), *(["Abnormalities"] * 2), "Recognition", *(["Regions"] * 2),
    ]  # fmt: skip


def test_bars_are_as_long_as_their_values() -> None:
    widths = []
    for value, limits in ((0.5, (0.25, 1.0)), (1.0, None)):
        drawing = ElementTree.fromstring(bar(value, limits))
        widths += [float(rect.get("width", "nan")) for rect in drawing.iter("rect")]
        assert len(list(drawing.iter("path"))) == (limits is not None)
    assert widths[0] * 2 == widths[1] > 0


def test_the_tables_fit_a_terminal(table: ReportTable) -> None:
    console = Console(file=io.StringIO(), width=80)
    long = replace(table, source="/a/long/path/" * 9 + "predictions.csv")
    print_scores(evaluate_table(long, compare=table), console)
    text = console.file.getvalue()  # type: ignore[attr-defined]
    assert "…" not in text
    assert "Interlobular septal thickening" in text
    assert long.source in text
    text = " ".join(text.split())
    assert "Taken for another: heart for spleen, 1 time." in text
    assert "Overall: one figure for the whole file" in text
    assert "1 studies" not in text and "1 times" not in text
    assert "nan" not in text


def test_the_row_of_the_published_file(shared: Path) -> None:
    folder = shared / "reports/ctrg"
    table = read_reports(folder / "ctrg_combined_reports_rm_region_text.csv")
    with (folder / "nlg_evaluation_results.csv").open(encoding="utf-8-sig", newline="") as file:
        (published,) = csv.DictReader(file)
    row = scores_row(evaluate_table(table, EvaluationSettings(labeler="none")).text)
    assert row == published
    assert list(row) == list(published)
