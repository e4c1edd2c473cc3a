"""Keys and values of what a language model has read, in memory with room to grow."""

from collections.abc import Sequence
from typing import Any

from jaxtyping import Float
from torch import Tensor
from transformers.cache_utils import Cache, DynamicLayer

_ROOM = 256  # columns by which a full layer grows


def fresh_cache() -> Cache:
    """A cache of nothing, of `RoomyLayer`s."""
    return Cache(layer_class_to_replicate=RoomyLayer)


def joined_cache(old: Cache, rows: Sequence[int], lead: int, new: Cache, columns: int) -> Cache:
    """Some rows of one cache, without their first `lead` columns, above all of another; both end at `columns`."""
    joined = fresh_cache()
    for number in range(max(len(old.layers) if rows else 0, len(new.layers))):
        rooms = []
        for name in ("keys", "values"):
            parts = [getattr(old.layers[number], name)[list(rows), :, lead:]] if rows else []
            parts += [getattr(new.layers[number], name)] if new.layers else []
            rooms.append(_room_for(parts, columns))
        layer = RoomyLayer()
        layer.hold(rooms[0], rooms[1], columns)
        joined.layers.append(layer)
    return joined


class RoomyLayer(DynamicLayer):
    """One layer: a token is put into its place, where the original copies all that is there for each one."""

    keys: Tensor
    values: Tensor
    _rooms: tuple[Tensor, Tensor]

    def update(
        self,
        key_states: Float[Tensor, "row head token dim"],
        value_states: Float[Tensor, "row head token dim"],
        *args: Any,
        **kwargs: Any,
    ) -> tuple[Float[Tensor, "row head column dim"], Float[Tensor, "row head column dim"]]:
        """Adds the new tokens' keys and values; gives all there are."""
        if not self.is_initialized:
            self.hold(key_states[:, :, :0], value_states[:, :, :0], 0)
        begin = self.get_seq_length()
        end = begin + key_states.shape[2]
        if end > self._rooms[0].shape[2]:
            more = end - begin
            self._rooms = (_room_for([self.keys], begin, more), _room_for([self.values], begin, more))
        keys, values = self._rooms
        keys[:, :, begin:end] = key_states
        values[:, :, begin:end] = value_states
        self.hold(keys, values, end)
        return self.keys, self.values

    def hold(
        self, keys: Float[Tensor, "row head column dim"], values: Float[Tensor, "row head column dim"], columns: int
    ) -> None:
        """Takes these over, of which so many columns are in use."""
        self.dtype, self.device, self.is_initialized = keys.dtype, keys.device, True
        self._rooms = (keys, values)
        self.keys, self.values = keys[:, :, :columns], values[:, :, :columns]

    def get_seq_length(self) -> int:
        """Columns in use; the original asks whether there are elements."""
        return self.keys.shape[2] if self.is_initialized else 0


def _room_for(parts: Sequence[Tensor], columns: int, more: int = 0) -> Float[Tensor, "row head column dim"]:
    """The parts' rows one below another, all ending at `columns`; zeros before, and room for more behind.

    The room behind holds anything: nobody reads it before it is written, and memory that is not touched costs nothing.
    """
    _, heads, _, dim = parts[0].shape
    room = parts[0].new_empty(sum(map(len, parts)), heads, columns + more + _ROOM, dim)
    top = 0
    for part in parts:
        rows, begin = room[top : top + len(part)], columns - part.shape[2]
        rows[:, :, :begin] = 0
        rows[:, :, begin:columns] = part
        top += len(part)
    return room
