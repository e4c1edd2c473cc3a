"""Which series is the chest CT, and what is said when there is none or more than one."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from pydicom.dataset import Dataset
from scanner import CORONAL, SAGITTAL, SECRET, SIZE, block, make_series, save

from reg2rg.dicom.read import read_dicom
from reg2rg.dicom.series import kernel_kind
from reg2rg.errors import InputError

FEWER = (12, 10, 5)


def series(
    uid: str, size: tuple[int, int, int] = SIZE, orientation: Sequence[float] = (1, 0, 0, 0, 1, 0), **values: object
) -> list[Dataset]:
    """A series with some values of its own in each slice."""
    datasets = make_series(block(int(uid[-1]), size), orientation, series_uid=uid)
    for dataset in datasets:
        for keyword, value in values.items():
            setattr(dataset, keyword, value)
    return datasets


def taken(folder: Path, *others: list[Dataset], uid: str | None = None) -> tuple[str, tuple[str, ...]]:
    for k, datasets in enumerate(others):
        save(folder, datasets, f"S{k}_")
    scan = read_dicom(folder, uid)
    return scan.series.series_uid, scan.remarks


@pytest.mark.parametrize(
    ("better", "worse"),
    [
        ({"size": FEWER}, {"orientation": CORONAL}),
        ({"size": FEWER}, {"orientation": SAGITTAL}),
        ({}, {"size": FEWER}),
        ({"ConvolutionKernel": ["Br40d", "3"]}, {"ConvolutionKernel": ["Bl57d", "3"]}),
        ({"ConvolutionKernel": "LUNG"}, {"ConvolutionKernel": "BONEPLUS"}),
        ({"ConvolutionKernel": "STANDARD"}, {"ConvolutionKernel": "unheard of"}),
        ({"size": FEWER, "BodyPartExamined": "CHEST"}, {"BodyPartExamined": "HEAD"}),
        ({"size": FEWER, "BodyPartExamined": "THORAX"}, {}),
        ({"size": FEWER}, {"RescaleType": "Z_EFF"}),
        ({}, {"ImageType": ["DERIVED", "SECONDARY", "MPR"]}),
        ({"size": FEWER}, {"ImageType": ["ORIGINAL", "PRIMARY", "LOCALIZER"]}),
        ({"size": FEWER}, {"Modality": "PT"}),
    ],
)
@pytest.mark.parametrize("swapped", [False, True])
def test_the_likelier_chest_ct_is_taken(tmp_path: Path, better: dict, worse: dict, swapped: bool) -> None:
    uids = ("2.25.8", "2.25.7") if swapped else ("2.25.7", "2.25.8")
    uid, _ = taken(tmp_path, series(uids[0], **better), series(uids[1], **worse))
    assert uid == uids[0]


def test_the_choice_is_said_in_one_line(tmp_path: Path) -> None:
    uid, remarks = taken(
        tmp_path, series("2.25.7"), series("2.25.8", orientation=CORONAL), series("2.25.9", Modality="SR")
    )
    assert uid == "2.25.7"
    assert remarks == (
        "took series 2.25.7 - axial 7 slices kernel B30f, the likeliest chest CT of 2 series by orientation, body "
        "part, number of slices and kernel (others: 2.25.8 - coronal 7 slices kernel B30f); --series takes another",
    )


def test_a_named_series_is_taken_without_a_word(tmp_path: Path) -> None:
    assert taken(tmp_path, series("2.25.7"), series("2.25.8", size=FEWER), uid="2.25.8") == ("2.25.8", ())


def test_localizers_in_the_series_itself_are_left_out(tmp_path: Path) -> None:
    scout = make_series(block(3, (20, 30, 1)), CORONAL, series_uid="2.25.7")
    scout[0].ImageType = ["ORIGINAL", "PRIMARY", "LOCALIZER"]
    save(tmp_path, scout, "scout")
    save(tmp_path, series("2.25.7"))
    np.testing.assert_array_equal(read_dicom(tmp_path).volume.array, block(7))


def test_a_colour_picture_in_the_series_is_left_out(tmp_path: Path) -> None:
    dose = make_series(block(3, (20, 30, 1)), series_uid="2.25.7")
    dose[0].SamplesPerPixel = 3
    save(tmp_path, dose, "dose")
    save(tmp_path, series("2.25.7"))
    np.testing.assert_array_equal(read_dicom(tmp_path).volume.array, block(7))


@pytest.mark.parametrize(
    ("uid", "match"),
    [
        ("2.25.5", r"--series 2.25.5: no such series here; expected one of: 2.25.7 - axial 7 slices kernel B30f"),
        ("2.25.8", "--series 2.25.8: expected a CT, found MR"),
    ],
)
def test_a_series_that_is_not_there_or_no_ct_is_refused(tmp_path: Path, uid: str, match: str) -> None:
    with pytest.raises(InputError, match=match):
        taken(tmp_path, series("2.25.7"), series("2.25.8", Modality="MR"), uid=uid)


def test_a_folder_without_ct_names_what_it_has(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="expected a CT series, found 2 series of MR, 1 series of PT; give") as caught:
        taken(
            tmp_path,
            series("2.25.6", Modality="MR"),
            series("2.25.7", Modality="MR"),
            series("2.25.8", Modality="PT"),
        )
    assert SECRET not in str(caught.value)


def test_several_studies_are_refused_unless_a_series_is_named(tmp_path: Path) -> None:
    both = series("2.25.7"), series("2.25.8", StudyInstanceUID="2.25.33")
    with pytest.raises(
        InputError, match=r"expected one study, found 2 with 2 CT series; .* --series with one of: 2.25"
    ):
        taken(tmp_path, *both)
    assert taken(tmp_path, uid="2.25.8")[0] == "2.25.8"


@pytest.mark.parametrize(
    ("kernel", "kind"),
    [
        ("B31f", "soft"),
        ("I30f", ""),
        ("Qr40", "soft"),
        ("Br64", "bone"),
        ("SOFT", "soft"),
        ("CHST", "soft"),
        ("FC08", "soft"),
        ("FC30", "bone"),
        ("L", "lung"),
        ("C", "soft"),
        ("YB", "lung"),
        ("", ""),
    ],
)
def test_makers_kernels(kernel: str, kind: str) -> None:
    assert kernel_kind(kernel) == kind
