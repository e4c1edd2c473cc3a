"""Many prompts written on together: rows leave the batch when they end, and the next prompts take their places."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
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
            batch.exchange(ended, newcomers)
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
    def exchange(self, ended: Sequence[_Row], newcomers: Sequence[_Row]) -> None:
        """Rows leave, others come with their first token; columns that no row needs any more go."""
        if not ended and not newcomers:
            return
        if self._steps and self.rows:
            self._cache = self._steps.held(len(self.rows))
        coming = self._read(newcomers)
        staying = [number for number, row in enumerate(self.rows) if row not in ended]
        self.rows = [self.rows[number] for number in staying]
        lead = min((row.start for row in self.rows), default=self._cache.get_seq_length())
        width = self._cache.get_seq_length() - lead
        longest = max(width, coming.get_seq_length())
        self._cache = self._kv_cache.joined_cache(self._cache, staying, lead, coming, longest)
        for row in self.rows:
            row.start += longest - width - lead
        for row in newcomers:
            row.start += longest - coming.get_seq_length()
        self.rows += newcomers
        if self._steps and self.rows:
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

    def _read(self, rows: Sequence[_Row]) -> Any:
        """A cache of the rows' prompts, which end together; a prompt of several rows is read once."""
        cache = self._kv_cache.fresh_cache()
        if not rows:
            return cache
        longest = max(len(row.embeddings) for row in rows)
        for row in rows:
            row.start = longest - len(row.embeddings)
        distinct = {id(row.embeddings): row for row in rows}
        padded = [functional.pad(row.embeddings, (0, 0, row.start, 0)) for row in distinct.values()]
        scores = self._scores(cache, torch.stack(padded), list(distinct.values()))
        if len(distinct) < len(rows):
            number = {key: place for place, key in enumerate(distinct)}
            places = [number[id(row.embeddings)] for row in rows]
            cache = self._kv_cache.joined_cache(cache, places, 0, self._kv_cache.fresh_cache(), longest)
            scores = scores[places]
        self._append(rows, scores)
        return cache

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
