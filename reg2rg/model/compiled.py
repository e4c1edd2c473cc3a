"""Steps of writing as compiled graphs: on a GPU, starting kernels one by one may take longer than running them.

The cache of keys and values is Hugging Face's static one, which has a fixed place in memory, so that a graph can be run
again and again on it (`torch.compile`; CUDA graphs on a GPU).
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, no_type_check

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional
from transformers.cache_utils import Cache, StaticLayer

from reg2rg.errors import InputError, is_lack_of_memory
from reg2rg.model.decode import Prompt, Written, write_on
from reg2rg.model.kv_cache import RoomyLayer, fresh_cache
from reg2rg.model.language import one_line
from reg2rg.models import Engine

_LEAST_ROOM = 256  # columns of a cache; each doubling of it is compiled anew


class CompiledEngine:
    """Writes on from prompts as `reg2rg.model.decode.write_on` does, with compiled steps; the same but for rounding.

    Args:
        language: a Hugging Face causal language model whose layers all attend to all that was read, without adapters.
        backend: of `torch.compile`.

    Raises:
        InputError: if layers attend to a window only.
    """

    engine: Engine = "compiled"

    def __init__(self, language: Any, backend: str | Callable[..., Any] = "inductor") -> None:
        if _has_windows(language.config.get_text_config()):
            raise InputError("engine compiled: cannot write with a model of sliding windows; leave --engine out")
        self._language, self._backend = language, backend
        self._idle: CompiledSteps | None = None  # of the last texts, for as many rows

    def write_on(self, prompts: Iterable[Prompt], *, rows: int, **settings: Any) -> Iterator[Written]:
        """As `reg2rg.model.decode.write_on`, whose settings the others are.

        Raises:
            InputError: if torch cannot compile the model here.
        """
        steps, self._idle = self._idle, None  # taken while they are in use: they hold what was read
        if steps is None or steps.rows != rows:
            steps = CompiledSteps(self._language, rows, self._backend)
        try:
            yield from write_on(self._language, prompts, rows=rows, steps=steps, **settings)
        finally:
            self._idle = steps


class CompiledSteps:
    """One token more for each of up to so many rows, and the cache of what they have read.

    Args:
        language: as for `CompiledEngine`.
        rows: all steps have as many; those that are not there are computed in vain.
        backend: of `torch.compile`.
    """

    def __init__(self, language: Any, rows: int, backend: str | Callable[..., Any] = "inductor") -> None:
        self._language, self.rows = language, rows
        self._device = next(language.parameters()).device
        mode = "reduce-overhead" if self._device.type == "cuda" and backend == "inductor" else None
        how: dict[str, Any] = {"backend": backend, "mode": mode, "isolate_recompiles": True}
        self._step = torch.compile(self._scores, fullgraph=True, dynamic=False, **how)
        self._room: Any = fresh_cache()
        self._width = self._columns = 0

    def hold(self, cache: Any) -> None:
        """Takes over what a cache has."""
        self._columns = cache.get_seq_length()
        if self._columns >= self._width:
            self._make_room(cache)
        for own, layer in zip(self._room.layers, cache.layers, strict=True):
            for room, part in ((own.keys, layer.keys), (own.values, layer.values)):
                room[: len(part), :, : self._columns] = part
            own.cumulative_length.fill_(self._columns)

    def held(self, rows: int) -> Cache:
        """What the first rows have read, not copied."""
        cache = fresh_cache()
        for own in self._room.layers:
            layer = RoomyLayer()
            layer.hold(own.keys[:rows, :, : self._columns], own.values[:rows, :, : self._columns])
            cache.layers.append(layer)
        return cache

    def __call__(
        self, embeddings: Float[Tensor, "row 1 embedding"], starts: Sequence[int]
    ) -> Float[Tensor, "row vocabulary"]:
        """Scores of the token that follows each row's, which are added to the cache.

        Args:
            embeddings: of one token a row.
            starts: the columns in which the rows begin.

        Raises:
            InputError: if torch cannot compile the model here.
        """
        rows = len(embeddings)
        if self._columns == self._width:
            self.hold(self.held(rows))
        missing = self.rows - rows
        first = torch.tensor([*starts, *[0] * missing], device=self._device)
        column = torch.tensor(self._columns, device=self._device)
        all_rows = functional.pad(embeddings, (0, 0, 0, 0, 0, missing))
        try:
            scores = self._step(all_rows, first[:, None], column, self._room)
        except torch._dynamo.exc.TorchDynamoException as error:
            if is_lack_of_memory(error):
                raise
            raise InputError(
                f"engine compiled: torch cannot compile this language model here ({one_line(error)}); "
                f"leave --engine out"
            ) from error
        self._columns += 1
        return scores[:rows]

    @no_type_check  # which asks the tests' checker of shapes, too, to leave alone what is traced
    def _scores(
        self,
        embeddings: Float[Tensor, "row 1 embedding"],
        starts: Int[Tensor, "row 1"],
        column: Int[Tensor, ""],
        cache: Any,
    ) -> Float[Tensor, "row vocabulary"]:
        columns = torch.arange(cache.layers[0].keys.shape[2], device=embeddings.device)
        is_read = (columns >= starts) & (columns <= column)
        output = self._language(
            inputs_embeds=embeddings,
            attention_mask=is_read[:, None, None],
            position_ids=column - starts,
            past_key_values=cache,
            use_cache=True,
        )
        scores: Float[Tensor, "row vocabulary"] = output.logits[:, -1]
        return scores

    def _make_room(self, cache: Any) -> None:
        """Rooms for a cache like this, and for a token more at least."""
        self._width = _LEAST_ROOM
        while self._width <= self._columns:
            self._width *= 2
        self._room = Cache(layers=[StaticLayer(self._width) for _ in cache.layers])
        for own, layer in zip(self._room.layers, cache.layers, strict=True):
            own.lazy_initialization(*(part[:1].expand(self.rows, -1, -1, -1) for part in (layer.keys, layer.values)))


def _has_windows(config: Any) -> bool:
    """Whether a language model has layers that do not attend to all that was read."""
    kinds = getattr(config, "layer_types", None)
    if kinds is None:
        return bool(getattr(config, "sliding_window", None))
    return set(kinds) != {"full_attention"}
