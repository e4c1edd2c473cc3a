"""From a study to a report, and from a dataset to predictions.csv, with a model that writes what it is told to."""

import csv
import json
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from reg2rg.data.dataset import open_dataset
from reg2rg.errors import InputError
from reg2rg.generate import COLUMNS, GenerationSettings, Reporter, find_device, generate_dataset, region_box_mm
from reg2rg.model.config import Sampling, WritingConfig
from reg2rg.model.decode import Prompt, Written
from reg2rg.model.language import text_embedding
from reg2rg.model.reg2rg import Reg2RG
from reg2rg.phantom.dataset import write_dataset
from reg2rg.phantom.world import Phantom
from reg2rg.prompt import build_target, parse_report
from reg2rg.volume import RegionMasks


@pytest.fixture(scope="module")
def dataset_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("data")
    write_dataset(root, count=3, seed=5, split="valid", workers=1)
    return root


def report_of(reporter: Reporter, phantom: Phantom, text: str, settings: GenerationSettings | None = None):  # type: ignore[no-untyped-def]
    reporter.model.texts = (text,)
    return reporter.report([phantom.study], settings)[0]


def test_a_perfect_answer_is_placed_region_by_region(scripted: Reporter, phantom_study: Phantom) -> None:
    truth = phantom_study.study.reference
    report = report_of(scripted, phantom_study, build_target(list(truth.items())))
    assert [region.name for region in report.regions] == list(phantom_study.study.masks.present)
    assert {region.name: region.text for region in report.regions} == truth
    assert all(region.agrees for region in report.regions)
    assert report.recognition_accuracy == 1
    assert report.warnings == phantom_study.study.warnings


def test_swapped_names_keep_the_text_at_its_mask(scripted: Reporter, phantom_study: Phantom) -> None:
    names = list(phantom_study.study.masks.present)
    lung, pleura = names.index("lung"), names.index("pleura")
    told = list(names)
    told[lung], told[pleura] = "pleura", "lungs"
    report = report_of(scripted, phantom_study, build_target([(name, f"Text {i}.") for i, name in enumerate(told)]))
    assert report.regions[lung].recognized_as == "pleura"
    assert not report.regions[lung].agrees
    assert report.regions[pleura].recognized_as == "lung"  # a synonym is the region's name
    assert report.regions[lung].text == f"Text {lung}."


def test_what_has_no_place_is_said(scripted: Reporter, phantom_study: Phantom) -> None:
    text = "The region 1 is bone: First. The region 1 is bone: Second. The region 77 is spleen: Large. "
    report = report_of(scripted, phantom_study, text)
    said = " ".join(report.warnings)
    assert report.regions[0].recognized_as is None
    assert report.regions[0].text == ""
    assert report.regions[1].text == "First."
    assert "Second." in said
    assert "a region number 77, which was not asked for" in said
    assert f"about the region {report.regions[1].name} again" in said
    unsaid = [region.name for place, region in enumerate(report.regions) if place != 1]
    assert f"nothing about: {', '.join(unsaid)}" in said


def test_text_that_reaches_the_limit_is_marked_as_cut(scripted: Reporter, phantom_study: Phantom) -> None:
    text = build_target([("abdomen", "A long story that goes on and on.")])
    assert any("was cut" in w for w in report_of(scripted, phantom_study, text, GenerationSettings(5)).warnings)
    assert not any("was cut" in w for w in report_of(scripted, phantom_study, text).warnings)


def test_sentences_of_a_phantom_model_are_read(scripted: Reporter, phantom_study: Phantom) -> None:
    text = build_target([("abdomen", "Cardiomegaly is present. No free fluid is seen in the upper abdomen.")])
    assert report_of(scripted, phantom_study, text).regions[0].sentences[0].abnormalities is None
    scripted.model.config = replace(scripted.model.config, trained_on="phantom")
    sentences = report_of(scripted, phantom_study, text).regions[0].sentences
    assert [sentence.abnormalities for sentence in sentences] == [("Cardiomegaly",), ()]


def test_random_weights_give_a_whole_report(untrained: Path, phantom_study: Phantom) -> None:
    reporter = Reporter.load(str(untrained), "cpu")
    with torch.no_grad():  # else the text ends at once, and two empty ones are always the same
        text_embedding(reporter.model.language).weight[reporter.processor.tokenizer.eos_token_id] = 0
    settings = GenerationSettings(max_new_tokens=5)
    single = reporter.report([phantom_study.study], settings)[0]
    both = reporter.report([phantom_study.study, phantom_study.study], settings)
    assert single.generated
    assert [report.generated for report in both] == [single.generated] * 2
    assert len(single.regions) == len(phantom_study.study.masks.present)
    assert set(single.seconds) == {"crop", "generate"}


def test_one_region_per_prompt_is_the_same_report(scripted: Reporter, phantom_study: Phantom) -> None:
    truth = phantom_study.study.reference
    scripted.model.texts = tuple(build_target([finding]) for finding in truth.items())
    report = scripted.report([phantom_study.study], GenerationSettings(regions_per_prompt=1))[0]
    assert report.generated == build_target(list(truth.items())).strip()
    assert {region.name: region.text for region in report.regions} == truth
    assert all(region.agrees for region in report.regions)


def test_what_is_written_beyond_a_prompt_is_left_out_and_said(
    scripted: Reporter, phantom_study: Phantom, dataset_root: Path, tmp_path: Path
) -> None:
    scripted.model.texts = ("The region 0 is lung: Clear. The region 1 is heart: Large.",)
    settings = GenerationSettings(regions_per_prompt=1)
    report = scripted.report([phantom_study.study], settings)[0]
    assert "Large" not in report.generated
    assert any("not asked for; left out: 'The region 1 is heart: Large." in warning for warning in report.warnings)
    dataset = open_dataset(dataset_root, "valid")
    record = generate_dataset(dataset, scripted, tmp_path / "p.csv", settings, limit=1)
    assert "Large" not in (tmp_path / "p.csv").read_text()
    assert record["beyond"][dataset.keys[0]].startswith("The region 1 is heart: Large.")


def test_a_prompt_shows_its_own_regions_alone(phantom_study: Phantom, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[torch.Tensor] = []

    def take(model: Reg2RG, prompts: Iterable[Prompt], *, rows: int, **_: object) -> Iterator[Written]:
        assert rows == 20
        seen.extend(prompt.embeddings for prompt in prompts)
        return iter(())

    monkeypatch.setattr(Reg2RG, "generate", take)
    reporter = Reporter.load("phantom", "cpu")
    crops = reporter.processor.crop(phantom_study.study)
    list(reporter.write([crops], GenerationSettings(regions_per_prompt=1, drafts=1), rows=2))
    assert len(seen) == len(crops.regions)
    lung = crops.regions.index("lung")
    blank = replace(crops, textures=crops.textures.copy(), masks=crops.masks.copy())
    blank.textures[lung], blank.masks[lung] = 0, 0
    list(reporter.write([blank], GenerationSettings(regions_per_prompt=1, drafts=1), rows=2))
    same = [torch.equal(a, b) for a, b in zip(seen[: len(crops.regions)], seen[len(crops.regions) :], strict=True)]
    assert [crops.regions[place] for place, is_same in enumerate(same) if not is_same] == ["lung"]


def test_draws_of_a_region_hang_on_no_order(phantom_study: Phantom) -> None:
    reporter = Reporter.load("phantom", "cpu")
    crops = reporter.processor.crop(phantom_study.study)
    settings = GenerationSettings(regions_per_prompt=1, sample=True, max_new_tokens=60)
    texts = []
    for regions in (crops.regions, crops.regions[::-1]):
        ((_, text, *_),) = reporter.write([crops.ordered(regions)], settings)
        found = [finding for finding in parse_report(text).findings if finding.index < len(regions)]
        texts.append({regions[finding.index]: finding.text for finding in found})
    assert texts[0] == texts[1] and len(texts[0]) == len(crops.regions)


def test_draws_hang_on_no_name(phantom_study: Phantom) -> None:
    reporter = Reporter.load("phantom", "cpu")
    settings = GenerationSettings(temperature=1.0, drafts=1, max_new_tokens=60)
    studies = [phantom_study.study, replace(phantom_study.study, study_id="anonymous")]
    one, other = reporter.report(studies, settings)
    assert one.study_id != other.study_id and one.generated == other.generated


def test_the_draft_that_says_what_most_say_is_kept(scripted: Reporter, phantom_study: Phantom) -> None:
    crops = scripted.processor.crop(phantom_study.study)
    texts = ["Clear lungs.", "A nodule of 12 mm.", "A nodule of 11 mm.", "A nodule of 40 mm."]
    scripted.model.texts = tuple(f"The region 0 is lung: {text}" for text in texts) * len(crops.regions)
    settings = GenerationSettings(regions_per_prompt=1, sample=True, drafts=4)
    ((_, text, is_complete, beyond),) = scripted.write([crops], settings)
    assert is_complete and not beyond
    assert [finding.text for finding in parse_report(text).findings] == ["A nodule of 12 mm."] * len(crops.regions)
    scripted.model.texts = scripted.model.texts[: len(crops.regions)]
    ((_, text, *_),) = scripted.write([crops], GenerationSettings(regions_per_prompt=1, sample=True))
    assert [finding.text for finding in parse_report(text).findings] == [
        texts[n % 4] for n in range(len(crops.regions))
    ]


def test_a_draft_that_was_cut_is_kept_only_where_all_were(scripted: Reporter, phantom_study: Phantom) -> None:
    crops = scripted.processor.crop(phantom_study.study)
    cut = "The region 0 is lung: " + "A nodule of 12 mm. " * 9
    settings = GenerationSettings(40, sample=True, drafts=3)
    for texts, ends in ((("The region 0 is lung: Clear.", cut, cut), True), ((cut, cut, cut), False)):
        scripted.model.texts = texts
        ((_, text, is_complete, _),) = scripted.write([crops], settings)
        assert is_complete == ends and ("Clear" in text) == ends


def test_drafts_are_the_same_in_any_batch_and_the_first_is_the_only_one_of_before(phantom_study: Phantom) -> None:
    reporter = Reporter.load("phantom", "cpu")
    crops = reporter.processor.crop(phantom_study.study)
    few = replace(crops, regions=crops.regions[:3], textures=crops.textures[:3], masks=crops.masks[:3])
    other = replace(few, boxes=crops.boxes[3:])  # of another place, and drawn otherwise
    prompts: list[Prompt] = []
    write_on = reporter.model.generate

    def taken(given: Iterable[Prompt], **settings: Any) -> Iterator[Written]:
        prompts.extend(taken := list(given))
        return write_on(taken, **settings)

    reporter.model.generate = taken  # type: ignore[method-assign]
    settings = GenerationSettings(sample=True, temperature=1.0, drafts=3, max_new_tokens=60)
    together = sorted(reporter.write([few, other], settings, rows=2))
    seeds = [prompt.seed for prompt in prompts]
    assert len(set(seeds)) == len(seeds) == 2 * 3 * 3
    ((_, *alone),) = reporter.write([other], settings)
    assert list(together[1])[1:] == alone
    prompts.clear()
    list(reporter.write([other], replace(settings, drafts=1)))
    assert [prompt.seed for prompt in prompts] == seeds[9::3]


def test_only_the_last_prompt_asks_for_the_other_report(scripted: Reporter, phantom_study: Phantom) -> None:
    crops = scripted.processor.crop(phantom_study.study)
    asked: list[tuple[int, bool]] = []
    prompt_ids = scripted.processor.prompt_ids
    scripted.processor.prompt_ids = lambda *args: asked.append(args) or prompt_ids(*args)  # type: ignore[func-returns-value,method-assign]
    scripted.model.texts = ("The region 0 is lung: Clear.",)
    list(scripted.write([crops], GenerationSettings(regions_per_prompt=4), with_other=True))
    assert asked == [(4, False), (4, False), (2, True)]


def test_what_is_not_asked_is_as_the_model_has_it() -> None:
    usual = WritingConfig(1, Sampling(0.5, 0.9), median_quantities=True)
    assert GenerationSettings().applied_to(usual) == usual
    assert GenerationSettings(temperature=0.7).applied_to(usual).sampling == Sampling(0.7, 0.9)
    assert GenerationSettings(sample=False, regions_per_prompt=10).applied_to(usual) == WritingConfig(10, None, True)
    assert GenerationSettings(sample=True).applied_to(WritingConfig()).sampling == Sampling()
    several = replace(usual, drafts=5)
    assert GenerationSettings().applied_to(several) == several
    assert GenerationSettings(drafts=2).applied_to(several).drafts == 2
    assert GenerationSettings(sample=False).applied_to(several).drafts == 1
    with pytest.raises(InputError, match="drafts: expected at least 1, got 0"):
        GenerationSettings(drafts=0)
    for given in ({"temperature": 0.7}, {"drafts": 2}, {"top_p": 0.9, "sample": False}):
        with pytest.raises(InputError, match="drawn"):
            GenerationSettings(**given).applied_to(WritingConfig(sampling=Sampling() if "sample" in given else None))  # type: ignore[arg-type]


def test_encoding_by_units_for_bfloat16_is_the_same_but_for_the_last_digits(
    phantom_study: Phantom, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[torch.Tensor] = []

    def take(model: Reg2RG, prompts: Iterable[Prompt], **_: object) -> Iterator[Written]:
        seen.extend(prompt.embeddings for prompt in prompts)
        return iter(())

    monkeypatch.setattr(Reg2RG, "generate", take)
    monkeypatch.setattr("reg2rg.model.split_products.multiplies_bf16", lambda _: True)
    for bf16 in (False, True):
        reporter = Reporter.load("phantom", "cpu", bf16=bf16)
        crops = reporter.processor.crop(phantom_study.study)
        list(reporter.write([crops], GenerationSettings(regions_per_prompt=10, drafts=1)))
    plain, fast = seen
    assert fast.dtype == plain.dtype == torch.float32
    assert 0 < (fast - plain).norm() / plain.norm() < 2e-5


def test_region_boxes_are_the_outer_faces_of_the_voxels() -> None:
    mask = np.zeros((4, 5, 6), bool)
    mask[1:3, 2, 0] = True
    affine = np.array([[-2.0, 0, 0, 10], [0, 3, 0, 0], [0, 0, 4, -8], [0, 0, 0, 1]])
    low, high = region_box_mm(RegionMasks.from_masks({"heart": mask}, affine), "heart")
    assert (low, high) == ((5.0, 4.5, -10.0), (9.0, 7.5, -6.0))


def test_dataset_rows_and_record(scripted: Reporter, dataset_root: Path, tmp_path: Path) -> None:
    dataset = open_dataset(dataset_root, "valid")
    scripted.model.texts = ("The region 0 is abdomen: One. ", "The region 0 is abdomen: Two. ")
    done: list[tuple[int, int]] = []
    out = tmp_path / "predictions.csv"
    record = generate_dataset(
        dataset, scripted, out, GenerationSettings(), batch_size=2, progress=lambda *n: done.append(n)
    )
    with out.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert tuple(rows[0]) == COLUMNS
    assert [row["AccNum"] for row in rows] == list(dataset.keys)
    assert [row["Pred_combined_report"] for row in rows] == [
        "The region 0 is abdomen: One.",
        "The region 0 is abdomen: Two.",
        "The region 0 is abdomen: One.",
    ]
    assert rows[0]["GT_combined_report"] == build_target(list(dataset[0].reference.items()))
    assert rows[0]["Question"].startswith("The global information is provided as the context: <image>")
    assert done == [(0, 3), (1, 3), (2, 3), (3, 3)]
    assert record["studies"] == 3
    assert json.loads((tmp_path / "predictions.csv.run.json").read_text())["failed"] == {}
    assert not list(tmp_path.glob("*.partial"))
    with pytest.raises(InputError, match="the file exists"):
        generate_dataset(dataset, scripted, out, GenerationSettings())


def test_what_cannot_be_written_is_refused_first(scripted: Reporter, dataset_root: Path, tmp_path: Path) -> None:
    dataset, settings, out = open_dataset(dataset_root, "valid"), GenerationSettings(), tmp_path / "new" / "p.csv"
    with pytest.raises(InputError, match="--batch-size: expected at least 1, got 0"):
        generate_dataset(dataset, scripted, out, settings, batch_size=0)
    with pytest.raises(InputError, match="--limit: expected at least 1, got 0"):
        generate_dataset(dataset, scripted, out, settings, limit=0)
    with pytest.raises(InputError, match=r"is a folder; expected the CSV to write, such as .*predictions\.csv"):
        generate_dataset(dataset, scripted, tmp_path, settings)
    assert not out.parent.exists()
    scripted.model.texts = ("The region 0 is abdomen: Fine. ",)
    generate_dataset(dataset, scripted, out, settings, limit=1)
    assert out.is_file()


def test_an_interrupted_run_goes_on(scripted: Reporter, dataset_root: Path, tmp_path: Path) -> None:
    dataset = open_dataset(dataset_root, "valid")
    scripted.model.texts = ("The region 0 is abdomen: Before. ",)
    out = tmp_path / "predictions.csv"

    def stop(done: int, total: int) -> None:
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        generate_dataset(dataset, scripted, out, GenerationSettings(), batch_size=1, progress=stop)
    assert not out.exists()
    with pytest.raises(InputError, match="another run"):
        generate_dataset(dataset, scripted, out, GenerationSettings(max_new_tokens=9), batch_size=1)
    scripted.model.texts = ("The region 0 is abdomen: After. ",)
    generate_dataset(dataset, scripted, out, GenerationSettings(), batch_size=1)
    text = out.read_text()
    assert text.count("Before.") == 2
    assert text.count("After.") == 1


def test_a_study_that_cannot_be_reported_keeps_its_row(scripted: Reporter, tmp_path: Path) -> None:
    write_dataset(tmp_path / "data", count=2, seed=6, split="valid", workers=1)
    broken = next((tmp_path / "data/dataset/valid_preprocessed").rglob("valid_1_a_1.nii.gz"))
    broken.write_bytes(broken.read_bytes()[:2000])
    scripted.model.texts = ("The region 0 is abdomen: Fine. ",)
    record = generate_dataset(
        open_dataset(tmp_path / "data", "valid"), scripted, tmp_path / "p.csv", GenerationSettings()
    )
    assert list(record["failed"]) == ["valid_1_a_1.nii.gz"]
    with (tmp_path / "p.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["Pred_combined_report"] for row in rows] == ["", "The region 0 is abdomen: Fine."]
    assert all(row["GT_combined_report"].startswith("The region 0 is ") for row in rows)  # missing counts as missed


def test_devices() -> None:
    assert find_device("cpu").type == "cpu"
    for name in ("gpu", "cuda:99", ""):
        with pytest.raises(InputError, match="auto, cpu or cuda"):
            find_device(name)


def test_settings_are_checked() -> None:
    with pytest.raises(InputError, match="max_new_tokens"):
        GenerationSettings(max_new_tokens=0)
