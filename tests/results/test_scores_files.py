"""What an evaluation writes: the command line, the folder, the page, the table."""

import csv
import io
import json
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import jsonschema
import pytest
from pytest import CaptureFixture
from rich.console import Console

from reg2rg.cli import main
from reg2rg.evaluate.evaluation import EvaluationSettings, evaluate_table
from reg2rg.evaluate.examples import pick_examples
from reg2rg.evaluate.scores import scores_schema
from reg2rg.evaluate.tables import ReportTable, read_reports
from reg2rg.results.charts import Bar, bar_chart
from reg2rg.results.scores_csv import scores_row
from reg2rg.results.scores_html import scores_to_html
from reg2rg.results.scores_text import print_scores

ROWS = [
    ("AccNum", "Question", "GT_combined_report", "Pred_combined_report"),
    (
        "1",
        "q",
        "The region 0 is lung: No nodule. The region 1 is heart: Large heart <3. ",
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
    assert list(record["sha256"]) == [str(predictions)]


def test_json_and_choices(tmp_path: Path, predictions: Path, capsys: CaptureFixture[str]) -> None:
    arguments = ["evaluate", str(predictions), "--json", "--metrics", "ROUGE-L,BLEU-1", "--labeler", "none"]
    assert main([*arguments, "--only-common", "--compare", str(predictions), "--recipe", "stemmed"]) == 0
    value = json.loads(capsys.readouterr().out)
    assert (value["recipe"], value["clinical"], value["settings"]["only_common"]) == ("stemmed", None, True)
    assert list(value["regions"]) == ["lung"]
    assert value["comparison"]["differences"]["ROUGE-L"] == {"value": 0.0, "ci95": [0.0, 0.0], "p": 1.0}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["absent.csv"], "cannot read it"),
        (["predictions.csv", "--recipe", "mine"], "unknown recipe 'mine'"),
        (["predictions.csv", "--metrics", "BLUE"], "unknown metric 'BLUE'"),
        (["predictions.csv", "--labels", "absent.csv"], "absent.csv"),
        (["predictions.csv", "--compare", "other.csv"], "row 2, column AccNum: '9', but"),
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


def test_the_page() -> None:
    table = ReportTable("a.csv", *(tuple(row[column] for row in ROWS[1:]) for column in (0, 2, 3)))
    scores = evaluate_table(table, EvaluationSettings(labeler="none"), control=table)
    html = scores_to_html(scores, pick_examples(scores, table))
    page = Page()
    page.feed(html)
    assert page.fetched == []
    assert "http" not in html
    assert "Large heart <3." in page.marked
    assert "<b>Normal</b>." in page.marked
    assert "<b>Normal" not in html
    for drawing in html.split("<figure>")[1:]:
        ElementTree.fromstring("<figure>" + drawing.split("</figure>")[0] + "</figure>")


def test_bars_are_as_long_as_their_values() -> None:
    drawing = ElementTree.fromstring(
        bar_chart("a < b", [Bar("x & y", 0.5, (0.25, 1.0), "n 3"), Bar("z", 1.0, None, "")])
    )
    widths = [float(bar.get("width", "nan")) for bar in drawing.iter("rect")]
    assert widths[0] * 2 == widths[1] > 0
    assert len(list(drawing.iter("path"))) == 1


def test_the_table_fits_a_terminal() -> None:
    table = ReportTable("a.csv", *(tuple(row[column] for row in ROWS[1:]) for column in (0, 2, 3)))
    console = Console(file=io.StringIO(), width=80)
    print_scores(evaluate_table(table), console)
    text = console.file.getvalue()  # type: ignore[attr-defined]
    assert "…" not in text
    assert "Interlobular septal thickening" in text
    assert "Taken for another: heart for spleen, 1 times" in text


def test_the_row_of_the_published_file(shared: Path) -> None:
    folder = shared / "reports/ctrg"
    table = read_reports(folder / "ctrg_combined_reports_rm_region_text.csv")
    with (folder / "nlg_evaluation_results.csv").open(encoding="utf-8-sig", newline="") as file:
        (published,) = csv.DictReader(file)
    row = scores_row(evaluate_table(table, EvaluationSettings(labeler="none")).text)
    assert row == published
    assert list(row) == list(published)
