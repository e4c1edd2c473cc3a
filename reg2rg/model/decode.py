"""Many prompts written on together: rows leave the batch when they end, and the next prompts take their places."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain, islice
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional

from reg2rg.model.config import Sampling
from reg2rg.model.quantities import Quantities
from reg2rg.model.sampling import TokenSampler

if TYPE_CHECKING:
    from reg2rg.model.compiled import CompiledSteps

_ENDED_SHARE = 1 / 8
"""Ended rows are written on, in vain, until they are that share of a batch: each exchange copies all that is kept."""


class Prompt(NamedTuple):
    """What is to be written on.

    Attributes:
        embeddings: of its tokens.
        seed: of the drawing of its tokens; unused where the likeliest are taken.
    """

    embeddings: Float[Tensor, "token embedding"]
    seed: int = 0


class Written(NamedTuple):
    """What was written.

    Attributes:
        place: which of the prompts, counted from 0.
        ids: the new tokens, the end token included; without it, the text was stopped at the longest length.
    """

    place: int
    ids: list[int]


def write_on(
    language: Any,
    prompts: Iterable[Prompt],
    *,
    rows: int,
    eos_id: int,
    max_new_tokens: int,
    sampling: Sampling | None = None,
    quantities: Quantities | None = None,
    steps: "CompiledSteps | None" = None,
) -> Iterator[Written]:
    """Writes on from each prompt; what is written of one hangs on no other, but for rounding.

    Args:
        language: a Hugging Face causal language model whose layers are all attention.
        prompts: taken one by one, when there is room for them.
        rows: how many are written together.
        eos_id: the token that ends a text.
        max_new_tokens: where to stop a text that does not end.
        sampling: how tokens are drawn; None for the likeliest.
        quantities: how words that say how much are chosen; None for like all others.
        steps: compiled ones, for as many rows; None for the language model's own.

    Yields:
        each text as soon as it ends, so that short ones come before long ones.
    """
    batch = _Batch(language, TokenSampler(sampling) if sampling else None, quantities, steps)
    waiting = enumerate(prompts)
    while True:
        ended = [row for row in batch.rows if row.is_ended]
        newcomers: list[_Row] = []
        if len(ended) >= _ENDED_SHARE * len(batch.rows):
            free = rows - len(batch.rows) + len(ended)
            newcomers = [_Row(place, *prompt) for place, prompt in islice(waiting, free)]
            batch.exchange(newcomers)
        if not batch.rows:
            return
        if not newcomers:
            batch.step()
        for row in batch.rows:
            if not row.is_ended and (row.ids[-1] == eos_id or len(row.ids) == max_new_tokens):
                row.is_ended = True
                yield Written(row.place, row.ids)


@dataclass(eq=False)
class _Row:
    """A text that is being written; its prompt begins at `start` in the cache."""

    place: int
    embeddings: Float[Tensor, "token embedding"]
    seed: int
    start: int = 0
    ids: list[int] = field(default_factory=list)
    is_ended: bool = False

    def __post_init__(self) -> None:
        self.generator = torch.Generator().manual_seed(self.seed)


def _exchanged(rows: Sequence[_Row], newcomers: Sequence[_Row]) -> list[_Row]:
    """Newcomers in the places of those that have ended, and where there are not enough of them the last of the rows."""
    count = sum(not row.is_ended for row in rows) + len(newcomers)
    moving = chain(newcomers, (row for row in rows[count:] if not row.is_ended))
    return [next(moving) if row.is_ended else row for row in rows[:count]] + list(moving)


class _Batch:
    """Rows that are written together, all of them up to the same column of the cache."""

    def __init__(
        self,
        language: Any,
        sampler: TokenSampler | None,
        quantities: Quantities | None,
        steps: "CompiledSteps | None",
    ) -> None:
        from reg2rg.model import kv_cache  # transformers, which takes seconds to import

        self.rows: list[_Row] = []
        self._language, self._sampler, self._quantities, self._steps = language, sampler, quantities, steps
        self._kv_cache = kv_cache
        self._cache = kv_cache.fresh_cache()

    @torch.inference_mode()
    def exchange(self, newcomers: Sequence[_Row]) -> None:
        """Rows that have ended leave, others come with their first token; columns that no row needs any more go."""
        rows = _exchanged(self.rows, newcomers)
        if rows == self.rows:
            return
        if self._steps and self.rows:
            self._cache = self._steps.held(len(self.rows))
        coming, places = self._read(newcomers)
        numbers = {id(row): number for number, row in enumerate(self.rows)}
        numbers |= {id(row): len(self.rows) + place for row, place in zip(newcomers, places, strict=True)}
        staying = [row for row in self.rows if not row.is_ended]
        width, width_coming = self._cache.get_seq_length(), coming.get_seq_length()
        longest = max(width_coming, width - min((row.start for row in staying), default=width))
        self._kv_cache.exchange_rows(self._cache, [numbers[id(row)] for row in rows], coming, longest)
        for row in staying:
            row.start += longest - width
        for row in newcomers:
            row.start += longest - width_coming
        self.rows = rows
        if self._steps and rows:
            self._steps.hold(self._cache)
            self._cache = self._kv_cache.fresh_cache()

    @torch.inference_mode()
    def step(self) -> None:
        """One more token for each row that has not ended."""
        table = self._language.get_input_embeddings()
        last = torch.tensor([row.ids[-1] for row in self.rows], device=table.weight.device)
        embeddings = table(last[:, None])
        if self._steps:
            scores = self._steps(embeddings, [row.start for row in self.rows])
        else:
            scores = self._scores(self._cache, embeddings, self.rows)
        self._append(self.rows, scores)

    def _read(self, rows: Sequence[_Row]) -> tuple[Any, list[int]]:
        """A cache of the rows' prompts, which end together, and their places; a prompt of several is read once."""
        cache = self._kv_cache.fresh_cache()
        if not rows:
            return cache, []
        longest = max(len(row.embeddings) for row in rows)
        for row in rows:
            row.start = longest - len(row.embeddings)
        distinct = {id(row.embeddings): row for row in rows}
        padded = [functional.pad(row.embeddings, (0, 0, row.start, 0)) for row in distinct.values()]
        scores = self._scores(cache, torch.stack(padded), list(distinct.values()))
        number = {key: place for place, key in enumerate(distinct)}
        places = [number[id(row.embeddings)] for row in rows]
        self._append(rows, scores[places])
        return cache, places

    def _scores(
        self, cache: Any, embeddings: Float[Tensor, "row token embedding"], rows: Sequence[_Row]
    ) -> Float[Tensor, "row vocabulary"]:
        """Of the token that follows each row's, which are added to the cache."""
        begin = cache.get_seq_length()
        starts = torch.tensor([[row.start] for row in rows], device=embeddings.device)
        columns = torch.arange(begin + embeddings.shape[1], device=embeddings.device)
        output = self._language(
            inputs_embeds=embeddings,
            attention_mask=(columns >= starts).long() if any(row.start for row in rows) else None,
            position_ids=(columns[begin:] - starts).clamp(min=0),
            past_key_values=cache,
            use_cache=True,
            logits_to_keep=1,
        )
        scores: Float[Tensor, "row vocabulary"] = output.logits[:, -1]
        return scores

    def _append(self, rows: Sequence[_Row], scores: Float[Tensor, "row vocabulary"]) -> None:
        drawn = self._sampler(scores, [row.generator for row in rows]) if self._sampler else scores
        chosen: Int[Tensor, " row"] = self._quantities(scores, drawn) if self._quantities else drawn.argmax(dim=-1)
        for row, token in zip(rows, chosen.tolist(), strict=True):
            if not row.is_ended:
                row.ids.append(token)
