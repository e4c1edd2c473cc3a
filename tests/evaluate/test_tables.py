"""Files of reports in every layout, and each way in which one can be unusable."""

from pathlib import Path

import numpy as np
import pytest

from reg2rg.abnormalities import ABNORMALITY_NAMES
from reg2rg.errors import InputError
from reg2rg.evaluate.tables import ReportTable, match_studies, read_reports

GOOD = "AccNum,GT_combined_report,Pred_combined_report\n1,Clear.,Dense.\n2,Large.,\n"


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("combined.csv", GOOD),
        ("bom.csv", "\ufeff" + GOOD),
        ("whole.csv", "AccNum,Question,GT_whole_report,Pred_whole_report\n1,q,Clear.,Dense.\n\n2,q,Large.,\n"),
        ("own.csv", "study_id,prediction,reference\r\n1,Dense.,Clear.\r\n2,,Large.\r\n"),
        (
            "lines.jsonl",
            '{"AccNum": 1, "reference": "Clear.", "prediction": "Dense."}\n\n'
            '{"AccNum": "2", "reference": "Large.", "prediction": null}\n',
        ),
    ],
)
def test_layouts(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).write_text(text, encoding="utf-8", newline="")
    table = read_reports(tmp_path / name)
    assert table.keys == ("1", "2")
    assert table.references == ("Clear.", "Large.")
    assert table.predictions == ("Dense.", "")
    assert table.parsed is None
    assert table.predicted_labels is None


def test_cells_longer_than_csv_readers_usually_take(tmp_path: Path) -> None:
    long = "effusion " * 30_000
    (tmp_path / "a.csv").write_text(f'AccNum,reference,prediction\n1,"{long}","a\nb"\n')
    table = read_reports(tmp_path / "a.csv")
    assert (table.references, table.predictions) == ((long,), ("a\nb",))


def test_labels(tmp_path: Path) -> None:
    names = [side + name for side in ("GT_", "Pred_") for name in ABNORMALITY_NAMES]
    cells = ["1" if name in ("GT_Emphysema", "Pred_Lung nodule") else "0" for name in names]
    path = tmp_path / "a.csv"
    path.write_text(f"AccNum,reference,prediction,{','.join(names)}\n7,a,b,{','.join(cells)}\n")
    table = read_reports(path)
    assert table.reference_labels is not None
    assert table.predicted_labels is not None
    assert np.flatnonzero(table.reference_labels[0]).tolist() == [ABNORMALITY_NAMES.index("Emphysema")]
    assert np.flatnonzero(table.predicted_labels[0]).tolist() == [ABNORMALITY_NAMES.index("Lung nodule")]
    path.write_text(path.read_text().replace(",1", ",2", 1))
    with pytest.raises(InputError, match="row 2, column GT_Emphysema: expected 0 or 1, found '2'"):
        read_reports(path)
    path.write_text(path.read_text().replace("GT_", "gt_"))
    with pytest.raises(
        InputError, match="GT_Medical material is missing; rename gt_Medical material to GT_Medical mat"
    ):
        read_reports(path)
    path.write_text(f"AccNum,reference,prediction,{','.join(names[1:])}\n7,a,b,{','.join(cells[1:])}\n")
    with pytest.raises(InputError, match="row 1: the column GT_Medical material is missing"):
        read_reports(path)


HEADER = "AccNum,GT_combined_report,Pred_combined_report\n"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "the file is empty"),
        (b"\n \n", "the file is empty"),
        (HEADER.encode(), "expected at least one row"),
        (b"Key,GT_combined_report,Pred_combined_report\n1,a,b\n", "row 1: expected the column AccNum, found Key, GT_"),
        (b"AccNum,text\n1,a\n", "row 1: expected the columns GT_combined_report and Pred_combined_report or"),
        (b"AccNum,GT_combined_report\n1,a\n", "row 1: the column Pred_combined_report is missing"),
        (b"AccNum,Pred_whole_report\n1,a\n", "row 1: the column GT_whole_report is missing"),
        (
            b"AccNum;reference;prediction\n1;a;b\n",
            "row 1: the cells are separated by semicolons; export it with commas",
        ),
        (b"AccNum\treference\tprediction\n1\ta, b\tb\n", "row 1: the cells are separated by tabs"),
        (b"accnum,reference,prediction\n1,a,b\n", "found accnum, reference, prediction; rename accnum to AccNum"),
        (b"AccNum,Reference,Prediction\n1,a,b\n", "; rename Reference to reference, Prediction to prediction"),
        (
            b"AccNum,reference,Prediction\n1,a,b\n",
            "column prediction is missing, found AccNum, reference, Prediction; re",
        ),
        (
            b"AccNum,GT_combined_report,Pred_combined_report,reference,prediction\n1,a,b,c,d\n",
            "the columns GT_combined_report and Pred_combined_report as well as reference and prediction; remove or",
        ),
        (HEADER.encode() + b"a,a,b\na.nii.gz,a,b\n", "row 3, column AccNum: 'a.nii.gz' is in row 2 already"),
        (b"AccNum,AccNum,reference,prediction\n1,1,a,b\n", "row 1: the column AccNum is there twice"),
        (HEADER.encode() + b"1,a,b\n ,a,b\n", "row 3, column AccNum: the cell is empty"),
        (HEADER.encode() + b"1,a,b\n2,a,b\n1,c,d\n", "row 4, column AccNum: '1' is in row 2 already"),
        (HEADER.encode() + b"1,a,b\n2, ,b\n", "row 3, column GT_combined_report: the reference of '2' is empty"),
        (HEADER.encode() + b"1,a\n", "row 2, column GT_combined_report: the row has 2 cells, the header 3"),
        (HEADER.encode() + b"1,a,b,c\n", "row 2, column Pred_combined_report: the row has 4 cells, the header 3"),
        (HEADER.encode() + b"1,a,b\n2,a,caf\xe9\n", "row 3, column Pred_combined_report: byte 0xE9 is not UTF-8"),
        ("AccNum,reference,prediction\n1,a,b\n".encode("utf-16"), "not a CSV text in UTF-8"),
        (b"PK\x03\x04\x00\x00binary", "not a CSV text in UTF-8"),
    ],
)
def test_refusals(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(content)
    with pytest.raises(InputError) as error:
        read_reports(path)
    assert message in str(error.value)
    assert str(error.value).startswith(str(path))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["", "{"], "row 2, character 2: Expecting property name enclosed in double quotes; write one JSON object per"),
        (["[", "{}]"], "expected one JSON object per line, found a JSON list; write each object on a line of its own"),
        (["1"], "row 1: expected a JSON object, found a number; write one object per line"),
        (
            ['{"AccNum": 1, "reference": "a", "prediction": ["b", "c"]}'],
            "column prediction: expected a text, found a list",
        ),
        (
            ['{"AccNum": 1, "reference": "a", "prediction": "b"}', '{"AccNum": 2, "reference": "a"}'],
            "row 2, column pred",
        ),
        (
            ['{"AccNum": 1, "reference": "", "prediction": "b"}'],
            "row 1, column reference: the reference of '1' is empty",
        ),
    ],
)
def test_refusals_of_json_lines(tmp_path: Path, lines: list[str], message: str) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text("\n".join(lines))
    with pytest.raises(InputError) as error:
        read_reports(path)
    assert message in str(error.value)


def test_no_file(tmp_path: Path) -> None:
    for path in (tmp_path / "absent.csv", tmp_path):
        with pytest.raises(InputError, match="cannot read it"):
            read_reports(path)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ("1,Clear.,x\n3,Large.,y\n", "b.csv: it lacks '2' (1 of 2 studies), compared with"),
        ("1,Clear.,x\n", "b.csv: it lacks '2' (1 of 2 studies)"),
        ("1,Clear.,x\n2,Large.,y\n9,Small.,z\n", "b.csv: it alone has '9' (1 of 3 studies)"),
        ("2,Huge.,y\n1,Clear.,x\n", "column GT_combined_report: the reference of '2' is not that of"),
    ],
)
def test_two_files_that_do_not_belong_together(tmp_path: Path, rows: str, message: str) -> None:
    (tmp_path / "a.csv").write_text(GOOD)
    (tmp_path / "b.csv").write_text(HEADER + rows)
    with pytest.raises(InputError) as error:
        match_studies(read_reports(tmp_path / "a.csv"), read_reports(tmp_path / "b.csv"))
    assert message in str(error.value)


def test_studies_are_matched_by_name_in_any_order(tmp_path: Path) -> None:
    first = ReportTable("a.csv", ("1.nii.gz", "2"), ("Clear.", "Large."), ("x", "y"))
    labels = np.zeros((2, 18), bool)
    labels[0, 3] = True  # of study 2
    second = ReportTable("b.csv", ("2", "1"), ("Large. ", "Clear."), ("b", "a"), predicted_labels=labels)
    matched = match_studies(first, second)
    assert (matched.keys, matched.predictions, matched.references) == (first.keys, ("a", "b"), ("Clear.", "Large. "))
    assert matched.predicted_labels is not None
    assert np.argwhere(matched.predicted_labels).tolist() == [[1, 3]]
    assert matched.reference_labels is None


def test_regions_in_some_references_only(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(HEADER + "1,The region 0 is lung: Clear.,x\n2,Clear.,y\n")
    with pytest.raises(InputError, match="column GT_combined_report: the reference of '2' has no region"):
        _ = read_reports(tmp_path / "a.csv").parsed


def test_published_stripping(shared: Path) -> None:
    """Our stripping against the authors' stripped file; one or two predictions are malformed."""
    from reg2rg.prompt import strip_region_text

    raw = read_reports(shared / "reports/ctrg/ctrg_combined_reports.csv")
    stripped = read_reports(shared / "reports/ctrg/ctrg_combined_reports_rm_region_text.csv")
    assert [strip_region_text(text) for text in raw.references] == [text.strip() for text in stripped.references]
    equal = [
        strip_region_text(text) == other.strip()
        for text, other in zip(raw.predictions, stripped.predictions, strict=True)
    ]
    assert sum(equal) >= 359
    assert {raw.keys[row] for row, same in enumerate(equal) if not same} <= {"1041", "1118"}
    assert raw.keys == stripped.keys
