"""Keys and values of what a language model has read, in memory with room to grow."""

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from transformers.cache_utils import Cache, DynamicLayer

_ROOM = 256  # columns by which a full layer grows


def fresh_cache() -> Cache:
    """A cache of nothing, of `RoomyLayer`s."""
    return Cache(layer_class_to_replicate=RoomyLayer)


def exchange_rows(cache: Any, sources: Sequence[int], coming: Any, columns: int, room: int = 0) -> None:
    """Rows leave a cache and others come, all of them up to the same column; what stays in its place is not moved.

    Args:
        cache: of `RoomyLayer`s.
        sources: of each row that shall be there: its number among those that are there, and behind these among those
            that come. Several rows may come from the same.
        coming: what others have read.
        columns: how many are left, the last ones. Where a row has fewer, there is anything finite before.
        room: for how many rows at least memory is taken, if more must be taken.
    """
    if not cache.layers:
        cache.layers.extend(RoomyLayer() for _ in coming.layers)
    for own, other in zip(cache.layers, coming.layers or cache.layers, strict=True):
        own.exchange(sources, other, columns, room)


class RoomyLayer(DynamicLayer):
    """One layer: a token is put into its place, where the original copies all that is there for each one."""

    keys: Tensor
    values: Tensor
    _rooms: tuple[Tensor, Tensor]  # in use are their first rows, from `_begin` to `_end`
    _begin: int
    _end: int

    def update(
        self,
        key_states: Float[Tensor, "row head token dim"],
        value_states: Float[Tensor, "row head token dim"],
        *args: Any,
        **kwargs: Any,
    ) -> tuple[Float[Tensor, "row head column dim"], Float[Tensor, "row head column dim"]]:
        """Adds the new tokens' keys and values; gives all there are."""
        if not self.is_initialized:
            self.hold(key_states[:, :, :0], value_states[:, :, :0])
        rows, more = len(self.keys), key_states.shape[2]
        if self._end + more > self._columns_of_room:
            width = self.get_seq_length()
            room = len(self._rooms[0])
            rooms = _room_like(self.keys, room, width + more), _room_like(self.values, room, width + more)
            rooms[0][:rows, :, :width], rooms[1][:rows, :, :width] = self.keys, self.values
            self._use(rooms, rows, 0, width)
        added = slice(self._end, self._end + more)
        self._rooms[0][:rows, :, added], self._rooms[1][:rows, :, added] = key_states, value_states
        self._use(self._rooms, rows, self._begin, self._end + more)
        return self.keys, self.values

    def hold(self, keys: Float[Tensor, "row head column dim"], values: Float[Tensor, "row head column dim"]) -> None:
        """Takes these over as they are, with no room: they are not written into."""
        self.dtype, self.device, self.is_initialized = keys.dtype, keys.device, True
        self._use((keys, values), len(keys), 0, keys.shape[2])

    def exchange(self, sources: Sequence[int], coming: "RoomyLayer", columns: int, room: int) -> None:
        """As `exchange_rows`, for one layer."""
        if not self.is_initialized:
            self.hold(coming.keys[:0, :, :0], coming.values[:0, :, :0])
        there, rooms, begin = len(self.keys), self._rooms, self._end - columns
        has_room = len(sources) <= len(rooms[0]) and self._end < self._columns_of_room
        stays = has_room and begin >= self._begin  # before that may be memory that nobody ever wrote into
        if not stays:
            rows = max(len(sources), room)
            rooms, begin = (_room_like(self.keys, rows, columns), _room_like(self.values, rows, columns)), 0
        places = list(enumerate(sources))
        moved = [(row, source) for row, source in places if source < there and not (stays and row == source)]
        come = [(row, source - there) for row, source in places if source >= there]
        used = slice(begin, begin + columns)
        for place, old, new in ((rooms[0], self.keys, coming.keys), (rooms[1], self.values, coming.values)):
            _copy_rows(old, moved, place[:, :, used])
            _copy_rows(new, come, place[:, :, used])
        self._use(rooms, len(sources), begin, begin + columns)

    def get_seq_length(self) -> int:
        """Columns in use; the original asks whether there are elements."""
        return self.keys.shape[2] if self.is_initialized else 0

    @property
    def _columns_of_room(self) -> int:
        return self._rooms[0].shape[2]

    def _use(self, rooms: tuple[Tensor, Tensor], rows: int, begin: int, end: int) -> None:
        self._rooms, self._begin, self._end = rooms, begin, end
        self.keys, self.values = rooms[0][:rows, :, begin:end], rooms[1][:rows, :, begin:end]


def _room_like(
    part: Float[Tensor, "row head column dim"], rows: int, columns: int
) -> Float[Tensor, "rows head room dim"]:
    """Memory for so many rows and columns, with room for more columns behind.

    It holds anything: nobody reads it before it is written, and memory that is not touched costs nothing.
    """
    _, heads, _, dim = part.shape
    return part.new_empty(rows, heads, columns + _ROOM, dim)


def _copy_rows(
    part: Float[Tensor, "row head column dim"],
    moves: Sequence[tuple[int, int]],
    room: Float[Tensor, "rows head columns dim"],
) -> None:
    """Rows of one part into a room, both ending together, zeros before; of each its new number and its old one."""
    if not moves:
        return
    rows, sources = torch.tensor(moves, device=room.device).T
    width = min(room.shape[2], part.shape[2])
    begin = room.shape[2] - width
    room[:, :, :begin].index_fill_(0, rows, 0)
    room[:, :, begin:].index_copy_(0, rows, part[:, :, part.shape[2] - width :].index_select(0, sources))
