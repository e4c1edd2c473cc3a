"""Batches of the report stage: which regions they ask for, in which order, and what is shown of them."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from reg2rg.models import find_model
from reg2rg.processor import Processor
from reg2rg.train.report import ReportBatches, ReportStudies
from reg2rg.vocabulary import IGNORED_LABEL

NAMES = ("abdomen", "heart", "lung", "pleura")


@pytest.fixture(scope="module")
def processor() -> Processor:
    return Processor.from_pretrained(find_model("phantom"))


def studies(shuffle_regions: bool, fewest_regions: int) -> ReportStudies:
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
    findings = [[(name, f"The {name} is normal.") for name in names] for names in regions]
    return ReportStudies(findings, [{}, {}], seen.__getitem__, shuffle_regions, fewest_regions)


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
