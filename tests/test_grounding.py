"""Counting what vanishes and what is disturbed; the whole test on one phantom with the shipped model."""

from collections.abc import Iterable, Iterator

import pytest

from reg2rg.generate import GenerationSettings, Reporter
from reg2rg.grounding import GroundingCounts, compare_reports, measure_grounding
from reg2rg.model.decode import Prompt, Written
from reg2rg.model.reg2rg import Reg2RG
from reg2rg.phantom.finding import Finding
from reg2rg.phantom.world import make_phantom

EFFUSION = Finding("Pleural effusion", "pleura", "left", amount="small")
LARGER = Finding("Pleural effusion", "pleura", "left", amount="large")
NODULE = Finding("Lung nodule", "lung", "left", "upper lobe", size_mm=12)
AS_LARGE = Finding("Lung nodule", "lung", "left", "upper lobe", size_mm=13)
SMALLER = Finding("Lung nodule", "lung", "left", "upper lobe", size_mm=9)
MASS = Finding("Breast mass", "breast", "left", size_mm=30)
EMPHYSEMA = Finding("Emphysema", "lung", amount="small")


def test_counts_by_hand() -> None:
    counts = GroundingCounts()
    whole = {"Pleural effusion": {EFFUSION}, "Lung nodule": {NODULE}}
    compare_reports(
        whole,
        {
            "Pleural effusion": {"Lung nodule": {NODULE}},
            "Lung nodule": {"Pleural effusion": {LARGER}, "Lung nodule": {NODULE}},
            "Emphysema": {"Pleural effusion": {EFFUSION}},
        },
        counts,
    )
    assert counts.stated == {"Pleural effusion": 1, "Lung nodule": 1}
    assert counts.vanished["Pleural effusion"] == 1 and counts.vanished["Lung nodule"] == 0
    # Of the effusion: without the nodule it is stated otherwise, without emphysema it stays. Emphysema is of the
    # nodule's own region and is not held against it.
    assert (counts.watched["Pleural effusion"], counts.changed["Pleural effusion"]) == (2, 1)
    assert (counts.watched["Lung nodule"], counts.changed["Lung nodule"], counts.lost["Lung nodule"]) == (1, 0, 0)
    rates = counts.to_json()
    assert (rates["vanished"], rates["disturbed"]) == (0.5, 0.3333)


def test_lost_changed_and_renumbered_are_told_apart() -> None:
    counts = GroundingCounts()
    without = {
        "Lung nodule": {"Breast mass": {MASS}},
        "Breast mass": {"Lung nodule": {NODULE}},
        "Pleural effusion": {"Lung nodule": {AS_LARGE}, "Breast mass": {MASS}},
        "Cardiomegaly": {"Lung nodule": {SMALLER}, "Breast mass": {MASS}},
        "Hiatal hernia": {"Breast mass": {MASS}},
    }
    compare_reports({"Lung nodule": {NODULE}, "Breast mass": {MASS}}, without, counts)
    rates = counts.to_json()
    of_nodule, of_mass = (rates["per_abnormality"][name] for name in ("Lung nodule", "Breast mass"))
    # Of the nodule: as it was, 13 mm, 9 mm (another class from 10 mm on), and not stated at all.
    assert (of_nodule["lost"], of_nodule["changed"], of_nodule["renumbered"]) == (0.25, 0.25, 0.25)
    assert (of_mass["lost"], of_mass["changed"], of_mass["renumbered"]) == (0.0, 0.0, 0.0)
    assert (rates["pairs"], rates["disturbed"]) == (8, 0.25)


def test_nothing_stated_is_no_rate() -> None:
    counts = GroundingCounts()
    compare_reports({}, {"Emphysema": {"Emphysema": {EMPHYSEMA}}}, counts)
    rates = counts.to_json()
    assert rates.pop("per_abnormality") == {}
    assert (rates.pop("stated"), rates.pop("pairs")) == (0, 0) and set(rates.values()) == {None}


def test_one_phantom_from_end_to_end() -> None:
    rates = measure_grounding(Reporter.load("phantom", "cpu"), [11]).to_json()
    assert rates["stated"] == sum(row["stated"] for row in rates["per_abnormality"].values())


def test_the_same_is_drawn_with_a_lesion_and_without(monkeypatch: pytest.MonkeyPatch) -> None:
    seeds: list[int] = []

    def take(model: Reg2RG, prompts: Iterable[Prompt], **_: object) -> Iterator[Written]:
        for place, prompt in enumerate(prompts):
            seeds.append(prompt.seed)
            yield Written(place, [])

    monkeypatch.setattr(Reg2RG, "generate", take)
    measure_grounding(Reporter.load("phantom", "cpu"), [9005], settings=GenerationSettings(drafts=1))
    phantom = make_phantom(9005)  # whose lung is larger without its effusion
    regions = len(phantom.study.masks.present)
    assert len(phantom.abnormalities) > 1 and seeds == seeds[:regions] * (1 + len(phantom.abnormalities))
