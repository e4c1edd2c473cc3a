"""Many texts written together: they leave the batch when they end, and the next prompts take their places.

Texts of one prompt that say the same so far share a row, and part with the first token that differs.
"""

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
"""Others come when that share of the texts has ended, and ended rows are written on, in vain, until they are that share
of all: a few prompts take nearly as long to read as many, and rows that move are copied."""


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
        rows: how many texts are written together.
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
        free = rows - batch.texts
        newcomers = list(islice(waiting, free)) if free >= _ENDED_SHARE * rows else []
        if newcomers:
            batch.read(newcomers)
        elif batch.texts:
            batch.step()
        else:
            return
        for row in batch.rows:
            if row.texts and (row.ids[-1] == eos_id or len(row.ids) == max_new_tokens):
                ended, row.texts = row.texts, []
                yield from (Written(text.place, row.ids) for text in ended)


class _Text(NamedTuple):
    """A text that is being written, and what its tokens are drawn with."""

    place: int
    generator: torch.Generator


@dataclass(eq=False)
class _Row:
    """Texts of one prompt that say the same so far; none where they have ended. The prompt begins at `start`."""

    start: int
    texts: list[_Text] = field(default_factory=list)
    ids: list[int] = field(default_factory=list)


def _exchanged(rows: Sequence[_Row], newcomers: Sequence[_Row]) -> list[_Row]:
    """Newcomers in the places of those that have ended, and where there are not enough of them the last of the rows."""
    count = sum(bool(row.texts) for row in rows) + len(newcomers)
    moving = chain(newcomers, (row for row in rows[count:] if row.texts))
    return [row if row.texts else next(moving) for row in rows[:count]] + list(moving)


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

    @property
    def texts(self) -> int:
        """How many have not ended."""
        return sum(len(row.texts) for row in self.rows)

    @torch.inference_mode()
    def read(self, prompts: Sequence[tuple[int, Prompt]]) -> None:
        """Others come, each with its place, and get their first token; a prompt of several texts is read once."""
        distinct = {id(prompt.embeddings): prompt.embeddings for _, prompt in prompts}
        longest = max(map(len, distinct.values()))
        rows = {key: _Row(longest - len(embeddings)) for key, embeddings in distinct.items()}
        for place, (embeddings, seed) in prompts:
            rows[id(embeddings)].texts.append(_Text(place, torch.Generator().manual_seed(seed)))
        padded = [functional.pad(embeddings, (0, 0, rows[key].start, 0)) for key, embeddings in distinct.items()]
        coming = self._kv_cache.fresh_cache()
        arrivals = list(rows.values())
        parting = self._append(arrivals, self._scores(coming, torch.stack(padded), arrivals))
        sources = [*enumerate(arrivals, len(self.rows)), *((len(self.rows) + number, row) for number, row in parting)]
        self._exchange(sources, coming)

    @torch.inference_mode()
    def step(self) -> None:
        """One more token for each text; rows part where their texts do."""
        ended = sum(not row.texts for row in self.rows)
        if ended and ended >= _ENDED_SHARE * len(self.rows):
            self._exchange([], self._kv_cache.fresh_cache())
        table = self._language.get_input_embeddings()
        last = torch.tensor([row.ids[-1] for row in self.rows], device=table.weight.device)
        embeddings = table(last[:, None])
        if self._steps:
            scores = self._steps(embeddings, [row.start for row in self.rows])
        else:
            scores = self._scores(self._cache, embeddings, self.rows)
        parting = self._append(self.rows, scores)
        if parting:
            self._exchange(parting, self._kv_cache.fresh_cache())

    def _exchange(self, arrivals: Sequence[tuple[int, _Row]], coming: Any) -> None:
        """Rows that have ended leave, others come; columns that no row needs any more go.

        Args:
            arrivals: rows with what they have read: the number of the row they part from, and behind these numbers of
                rows of `coming`.
            coming: a cache of what others have read.
        """
        there = len(self.rows)
        if self._steps and there:
            self._cache = self._steps.held(there)
        numbers = {id(row): number for number, row in chain(enumerate(self.rows), arrivals)}
        self.rows = _exchanged(self.rows, [row for _, row in arrivals])
        sources = [numbers[id(row)] for row in self.rows]
        width, width_coming = self._cache.get_seq_length(), coming.get_seq_length()
        widths = [width if source < there else width_coming for source in sources]
        longest = max(columns - row.start for columns, row in zip(widths, self.rows, strict=True))
        for columns, row in zip(widths, self.rows, strict=True):
            row.start += longest - columns
        self._kv_cache.exchange_rows(self._cache, sources, coming, longest, room=self.texts)
        if self._steps:
            self._steps.hold(self._cache)
            self._cache = self._kv_cache.fresh_cache()

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

    def _append(self, rows: Sequence[_Row], scores: Float[Tensor, "row vocabulary"]) -> list[tuple[int, _Row]]:
        """Each text gets its next token; gives rows that part from others, each with the other's number.

        Compiled steps have as many rows as texts, whose memory moves at every exchange: there each text parts at once.
        """
        texts = [(number, text) for number, row in enumerate(rows) for text in row.texts]
        scores = scores[[number for number, _ in texts]]
        drawn = self._sampler(scores, [text.generator for _, text in texts]) if self._sampler else scores
        chosen: Int[Tensor, " text"] = self._quantities(scores, drawn) if self._quantities else drawn.argmax(dim=-1)
        alike: dict[tuple[int, ...], list[_Text]] = {}
        for (number, text), token in zip(texts, chosen.tolist(), strict=True):
            key = (number, token, text.place) if self._steps else (number, token)
            alike.setdefault(key, []).append(text)
        said = [row.ids for row in rows]
        parting: list[tuple[int, _Row]] = []
        for (number, token, *_), own in alike.items():
            row, ids = rows[number], [*said[number], token]
            if row.ids is said[number]:
                row.texts, row.ids = own, ids
            else:
                parting.append((number, _Row(row.start, own, ids)))
        return parting
