"""Batches of the report stage: which regions they ask for, in which order, and what is shown of them."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from reg2rg.model.build import build_model, phantom
from reg2rg.model.reg2rg import Reg2RG
from reg2rg.models import find_model
from reg2rg.phantom.report import read_findings
from reg2rg.processor import Processor
from reg2rg.train.questions import KIND_NAMES, kinds_known
from reg2rg.train.report import ReportBatches, ReportStudies, ReportTrainee, mixed
from reg2rg.vocabulary import IGNORED_LABEL

NAMES = ("abdomen", "heart", "lung", "pleura")


@pytest.fixture(scope="module")
def processor() -> Processor:
    return Processor.from_pretrained(find_model("phantom"))


def studies(
    shuffle_regions: bool, fewest_regions: int, lung: str = "The lung is normal.", reword: bool = False
) -> ReportStudies:
    """Two studies, the second without a lung; what is shown of a region is its place among the names."""
    regions = [NAMES, (*NAMES[:2], NAMES[3])]
    seen = [
        SimpleNamespace(
            regions=names,
            image=np.zeros((1, 1), np.float32),
            textures=np.array([[[NAMES.index(name)]] for name in names], np.float32),
            masks=np.array([[NAMES.index(name)] for name in names], np.float32),
        )
        for names in regions
    ]
    texts = {name: f"The {name} is normal." for name in NAMES} | {"lung": lung}
    findings = [[(name, texts[name]) for name in names] for names in regions]
    return ReportStudies(findings, [{}, {}], seen.__getitem__, shuffle_regions, fewest_regions, reword=reword)


def answers(processor: Processor, batch: dict[str, torch.Tensor]) -> list[str]:
    return [processor.decode(row[row != IGNORED_LABEL].tolist()) for row in batch["labels"]]


@pytest.mark.parametrize("shuffle_regions", [True, False])
def test_a_batch_asks_for_as_many_regions_of_each_study_and_shows_the_ones_it_names(
    processor: Processor, shuffle_regions: bool
) -> None:
    torch.manual_seed(0)
    data = studies(shuffle_regions, fewest_regions=1)
    counts, orders = set(), set()
    for _ in range(30):
        batch = ReportBatches(processor, 2048)([data[0], data[1]])
        first, second = batch["region_counts"]
        assert second == min(first, 3)
        counts.add(first)
        shown = [NAMES[int(place)] for place in batch["masks"][:, 0]]
        assert shown == [NAMES[int(place)] for place in batch["textures"][:, 0, 0]]
        named = [part.split(":")[0] for text in answers(processor, batch) for part in text.split(" is ")[1::2]]
        assert named == shown
        orders.add(tuple(shown[:first]))
    assert counts == {1, 2, 3, 4}
    in_order = all(list(order) == sorted(order) for order in orders)
    assert in_order != shuffle_regions


def test_all_regions_as_published(processor: Processor) -> None:
    data = studies(shuffle_regions=True, fewest_regions=10)
    batch = ReportBatches(processor, 2048)([data[0], data[1]])
    assert batch["region_counts"] == [4, 3]
    assert batch["token_ids"].shape == batch["labels"].shape
    assert (batch["labels"][1] != IGNORED_LABEL).sum() < (batch["labels"][0] != IGNORED_LABEL).sum()


def test_lengths_are_few_and_what_is_added_teaches_nothing(processor: Processor) -> None:
    data = studies(shuffle_regions=False, fewest_regions=10)
    alone = processor.example([(name, f"The {name} is normal.") for name in NAMES], 2048)
    longest = len(alone.ids)
    batch = ReportBatches(processor, 2048)([data[0], data[1]])
    assert longest < batch["token_ids"].shape[1] == -(-longest // 64) * 64
    assert batch["token_ids"][0, :longest].tolist() == list(alone.ids)
    assert batch["labels"][0, :longest].tolist() == list(alone.labels)
    assert (batch["labels"][:, longest:] == IGNORED_LABEL).all()
    assert ReportBatches(processor, longest)([data[0]])["token_ids"].shape[1] == longest


def test_mixed_regions_are_seen_and_said_together(processor: Processor) -> None:
    regions = [NAMES, (*NAMES[:2], NAMES[3]), NAMES]
    seen = [
        SimpleNamespace(
            regions=names,
            image=np.full((1, 1), study, np.float32),
            textures=np.array([[[10 * study + NAMES.index(name)]] for name in names], np.float32),
            masks=np.array([[10 * study + NAMES.index(name)] for name in names], np.float32),
        )
        for study, names in enumerate(regions)
    ]
    said = ("no", "one", "two")
    findings = [[(name, f"{word} {name}") for name in names] for word, names in zip(said, regions, strict=True)]
    data = ReportStudies(findings, [{}] * 3, seen.__getitem__, True, 10, mix_regions=0.5)
    torch.manual_seed(0)
    apart = 0
    for _ in range(40):
        plain = [data[0], data[1], data[2]]
        texts: list[tuple[str, str]] = []
        for study, before in zip(mixed(plain), plain, strict=True):
            assert [name for name, _ in study.findings] == [name for name, _ in before.findings], "order kept"
            assert study.image is before.image
            assert study.masks[:, 0].tolist() == study.textures[:, 0, 0].tolist()
            shown = [divmod(int(value), 10) for value in study.masks[:, 0]]
            assert study.findings == tuple((NAMES[name], f"{said[giver]} {NAMES[name]}") for giver, name in shown)
            texts += study.findings
        assert sorted(texts) == sorted(text for own in findings for text in own), "none lost, none twice"
        batch = ReportBatches(processor, 2048)(plain)
        rows = torch.split(batch["masks"][:, 0], batch["region_counts"])
        apart += any(len({int(value) // 10 for value in row}) > 1 for row in rows)
    assert 10 < apart < 30, "about half of the batches"


def test_texts_are_written_anew_each_time(processor: Processor) -> None:
    lung = "The lung shows a consolidation of the left lower lobe, large. No nodule."
    data = studies(shuffle_regions=False, fewest_regions=10, lung=lung, reword=True)
    torch.manual_seed(0)
    state = torch.get_rng_state()
    first, second = (dict(data[0].findings) for _ in range(2))
    assert set(first) == set(second) == set(NAMES) and first["lung"] != second["lung"] != lung
    for texts in (first, second):
        (finding,) = read_findings(texts["lung"], "lung")
        assert (finding.abnormality, finding.side, finding.amount) == ("Consolidation", "left", "large")
    torch.set_rng_state(state)
    assert dict(data[0].findings) == first, "the same seeds, the same words"


LUNG = "Mild emphysema of both lungs. A 12 mm solid nodule is seen in the left upper lobe. No opacity is seen."


def test_each_token_of_a_text_is_asked_what_is_still_to_be_said(processor: Processor) -> None:
    data = studies(shuffle_regions=True, fewest_regions=1, lung=LUNG)
    torch.manual_seed(0)
    seen_lung = False
    for _ in range(10):
        batch = ReportBatches(processor, 2048, with_plan=True)([data[0], data[1]])
        assert ReportBatches(processor, 2048)([data[0], data[1]])["plan"] is None
        plan, labels = batch["plan"], batch["labels"].flatten()
        asked = labels[plan["places"]]
        assert (asked != IGNORED_LABEL).all()
        shown = [NAMES[int(place)] for place in batch["masks"][:, 0]]
        assert processor.decode(asked.tolist()).count(":") == len(shown)
        region = torch.from_numpy(kinds_known(shown))
        own = (plan["known"][:, None] == region).all(dim=2).int().argmax(dim=1)  # the first of regions without kinds
        for kind, last in (("Emphysema", "lungs."), ("Lung nodule", "lobe.")):
            remaining = plan["remaining"][:, KIND_NAMES.index(kind)] > 0
            if "lung" not in shown:
                assert not remaining.any()
                continue
            seen_lung = True
            begun = processor.decode(asked[remaining].tolist())
            assert (": " + LUNG).startswith(begun.strip()) and not begun.strip().endswith(last)
            assert (": " + LUNG).removeprefix(begun.strip()).startswith(last[-1])  # its end is no longer asked
            assert {shown[row] for row in own[remaining]} == {"lung"}
    assert seen_lung


def test_a_cut_text_is_asked_as_far_as_it_goes(processor: Processor) -> None:
    data = studies(shuffle_regions=False, fewest_regions=10, lung=LUNG)
    whole = ReportBatches(processor, 2048, with_plan=True)([data[0]])
    length = int((whole["labels"] != IGNORED_LABEL).nonzero()[-1, 1]) - 20
    cut = ReportBatches(processor, length, with_plan=True)([data[0]])
    places = cut["plan"]["places"]
    assert places.max() < length
    assert (places == whole["plan"]["places"][: len(places)]).all()
    assert (cut["plan"]["remaining"] == whole["plan"]["remaining"][: len(places)]).all()


def batch_of_tokens(processor: Processor, model: Reg2RG) -> dict[str, Any]:
    """A batch of one study with its plan, in which random tokens are shown."""
    batch = ReportBatches(processor, 2048, with_plan=True)([studies(False, 10, LUNG)[0]])
    sizes = model.config
    batch["image"] = torch.randn(1, sizes.perceiver.latents, sizes.vision.width)
    batch["textures"] = torch.randn(4, sizes.perceiver.latents, sizes.vision.width)
    batch["masks"] = torch.randn(4, sizes.mask_encoder.width)
    return batch


def test_the_plan_is_read_two_layers_ahead_and_adds_to_the_loss(processor: Processor) -> None:
    torch.manual_seed(0)
    model = build_model(phantom(processor.config.text_vocabulary_size))
    trainee = ReportTrainee(model, kept=("vision", "perceiver", "mask_encoder"), plan_weight=0.5)
    batch = batch_of_tokens(processor, model)
    alone = trainee(**{**batch, "plan": None})["loss"]
    loss = trainee(**batch)["loss"]
    torch.testing.assert_close(trainee(**batch)["loss"], loss)
    assert loss > alone
    layers = [layer.mlp.down_proj.weight for layer in model.language.get_decoder().layers]
    reached = [gradient.abs().max() > 1e-6 for gradient in torch.autograd.grad(loss - alone, layers)]
    assert reached == [True] * 4, "what is said next, to the last layer"
    torch.nn.init.zeros_(trainee.next_of_token[1].weight)
    difference = trainee(**batch)["loss"] - trainee(**{**batch, "plan": None})["loss"]
    reached = [gradient.abs().max() > 1e-6 for gradient in torch.autograd.grad(difference, layers)]
    assert reached == [True, True, False, False], "the plan, two layers below"


def test_words_that_state_a_finding_weigh_more_in_training_only(processor: Processor) -> None:
    torch.manual_seed(0)
    model = build_model(phantom(processor.config.text_vocabulary_size))
    batch = batch_of_tokens(processor, model)
    plain, weighted, only = (
        ReportTrainee(model, ("vision", "perceiver", "mask_encoder"), finding_weight=weight) for weight in (1, 2, 1e6)
    )
    stated = batch["plan"]["places"][batch["plan"]["next"].amax(dim=1) > 0]
    words = processor.decode(batch["token_ids"].flatten()[stated + 1].tolist())
    assert words.strip() == LUNG.removesuffix(" No opacity is seen.")
    assert weighted(**batch)["loss"] != plain(**batch)["loss"]
    labels = torch.full_like(batch["labels"], IGNORED_LABEL)
    labels.view(-1)[stated + 1] = batch["labels"].view(-1)[stated + 1]
    torch.testing.assert_close(only(**batch)["loss"], plain(**{**batch, "labels": labels})["loss"], rtol=1e-4, atol=0)
    assert weighted.eval()(**batch)["loss"] == plain.eval()(**batch)["loss"]
