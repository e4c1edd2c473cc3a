"""What rows have read stays with them, through all exchanges, whether their memory moves or not."""

import random

import pytest
import torch
from torch import Tensor

from reg2rg.model.kv_cache import exchange_rows, fresh_cache


def added(cache: object, states: Tensor) -> Tensor:
    """Keys and values of one layer after these were added, as one tensor."""
    keys, values = cache.update(states, -states, 0)  # type: ignore[attr-defined]
    assert torch.equal(values, -keys)
    return keys[:, 0, :, 0]


def column(numbers: list[float]) -> Tensor:
    return torch.tensor(numbers, dtype=torch.float32)[:, None, None, None].expand(-1, 1, 1, 2).contiguous()


def test_rows_leave_and_others_come_and_all_end_together() -> None:
    cache, coming = fresh_cache(), fresh_cache()
    added(cache, column([1, 2, 3]).expand(-1, 1, 5, 2))
    added(coming, column([7, 8]).expand(-1, 1, 2, 2))
    exchange_rows(cache, [0, 2, 4, 3], coming, 4)
    keys = added(cache, column([0, 0, 0, 0]))
    assert keys.tolist() == [[1, 1, 1, 1, 0], [3, 3, 3, 3, 0], [0, 0, 8, 8, 0], [0, 0, 7, 7, 0]]


def test_what_comes_may_be_longer_than_what_is_there() -> None:
    cache, coming = fresh_cache(), fresh_cache()
    added(cache, column([1, 2]).expand(-1, 1, 2, 2))
    added(coming, column([7]).expand(-1, 1, 4, 2))
    exchange_rows(cache, [2, 1], coming, 4)
    assert added(cache, column([0, 0])).tolist() == [[7, 7, 7, 7, 0], [0, 0, 2, 2, 0]]


def test_rows_part_without_moving_what_there_is_room_for() -> None:
    cache, coming = fresh_cache(), fresh_cache()
    added(coming, column([1, 2]).expand(-1, 1, 3, 2))
    exchange_rows(cache, [0, 1], coming, 3, room=4)
    added(cache, column([3, 4]))
    memory = cache.layers[0].keys.data_ptr()
    exchange_rows(cache, [0, 1, 1, 0], fresh_cache(), 4)
    keys = added(cache, column([5, 6, 7, 8]))
    assert keys.tolist() == [[1, 1, 1, 3, 5], [2, 2, 2, 4, 6], [2, 2, 2, 4, 7], [1, 1, 1, 3, 8]]
    assert cache.layers[0].keys.data_ptr() == memory
    added(cache, torch.zeros(4, 1, 300, 2))
    exchange_rows(cache, [0], fresh_cache(), 305)
    memory = cache.layers[0].keys.data_ptr()
    exchange_rows(cache, [0, 0, 0, 0], fresh_cache(), 305)
    assert cache.layers[0].keys.data_ptr() == memory, "room for rows is kept where columns need more"


@pytest.mark.parametrize("seed", range(8))
def test_any_rows_at_any_time(seed: int) -> None:
    dice = random.Random(seed)
    cache, number = fresh_cache(), 0
    read: list[list[float]] = []  # by each row that is there
    for _ in range(40):
        width = dice.choice((1, 9, 60))
        coming, arrivals = fresh_cache(), [[float(dice.randint(1000, 2000))] * width for _ in range(3)]
        added(coming, torch.tensor(arrivals)[:, None, :, None].expand(-1, 1, -1, 2))
        size = dice.randint(1, 6)
        sources = [
            row
            if row < len(read) and dice.random() < 0.6
            else dice.randrange(len(read))
            if read and dice.random() < 0.5
            else len(read) + dice.randrange(3)
            for row in range(size)
        ]
        read = [list([*read, *arrivals][source]) for source in sources]
        exchange_rows(cache, sources, coming, max(map(len, read)), room=dice.choice((0, 4, 8)))
        for _ in range(dice.choice((1, 3, 150))):
            number += 1
            keys = added(cache, column([number + row / 64 for row in range(size)]))
            for row, own in enumerate(read):
                own.append(number + row / 64)
        assert keys.shape == (size, max(map(len, read)))
        assert keys.isfinite().all()
        assert [keys[row, -len(own) :].tolist() for row, own in enumerate(read)] == read
