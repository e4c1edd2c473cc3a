"""What is written of a prompt is what Hugging Face's own loop writes of it alone, whoever else is in the batch."""

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from tiny_models import tiny_language
from transformers import GenerationConfig, LlamaForCausalLM

from reg2rg.model.config import Sampling
from reg2rg.model.decode import Prompt, write_on
from reg2rg.model.quantities import Quantities

EOS = 3
LENGTHS = (9, 4, 30, 7, 12, 2, 21)


@pytest.fixture(scope="module")
def language() -> LlamaForCausalLM:
    return tiny_language()


@pytest.fixture(scope="module")
def prompts() -> list[Prompt]:
    generator = torch.Generator().manual_seed(1)
    return [Prompt(torch.randn(length, 32, generator=generator), seed) for seed, length in enumerate(LENGTHS)]


def by_hugging_face(language: LlamaForCausalLM, prompt: Prompt, length: int, eos_id: int | None = EOS) -> list[int]:
    config = GenerationConfig(max_new_tokens=length, eos_token_id=eos_id, pad_token_id=0, do_sample=False)
    mask = torch.ones(1, len(prompt.embeddings), dtype=torch.long)
    return language.generate(
        inputs_embeds=prompt.embeddings[None], attention_mask=mask, generation_config=config
    ).tolist()[0]


@pytest.mark.parametrize("rows", [1, 2, 3, 7, 20])
def test_each_as_hugging_face_writes_it_alone(language: Any, prompts: list[Prompt], rows: int) -> None:
    written = list(write_on(language, prompts, rows=rows, eos_id=EOS, max_new_tokens=40))
    assert sorted(place for place, _ in written) == list(range(len(prompts)))
    lengths = {len(ids) for _, ids in written}
    assert len(lengths) > 2 and 40 in lengths, "some end by themselves, some are cut"
    for place, ids in written:
        assert ids == by_hugging_face(language, prompts[place], 40)


def test_longer_than_the_cache_had_room_for(language: Any, prompts: list[Prompt]) -> None:
    (first, *_) = (ids for _, ids in write_on(language, prompts[2:3], rows=1, eos_id=-1, max_new_tokens=600))
    assert len(first) == 600
    assert first == by_hugging_face(language, prompts[2], 600, eos_id=None)


def test_short_texts_come_first_and_prompts_are_taken_late(language: Any, prompts: list[Prompt]) -> None:
    taken: list[int] = []

    def one_by_one() -> Iterator[Prompt]:
        for place, prompt in enumerate(prompts):
            taken.append(place)
            yield prompt

    texts = write_on(language, one_by_one(), rows=2, eos_id=EOS, max_new_tokens=40)
    place, ids = next(texts)
    assert taken == [0, 1] and place in (0, 1)
    assert len(ids) == min(len(by_hugging_face(language, prompts[place], 40)) for place in (0, 1))


@pytest.mark.parametrize("rows", [1, 4, 30])
def test_a_prompt_of_several_rows_is_read_once(
    language: Any, prompts: list[Prompt], rows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    drafts = [prompt._replace(seed=seed) for prompt in prompts for seed in (7, 8, 9)]
    apart = [Prompt(prompt.embeddings.clone(), prompt.seed) for prompt in drafts]
    read: list[int] = []
    forward = language.forward

    def counted(**given: Any) -> Any:
        if given["inputs_embeds"].shape[1] > 1:
            read.append(len(given["inputs_embeds"]))
        return forward(**given)

    monkeypatch.setattr(language, "forward", counted)
    settings: dict[str, Any] = {"eos_id": EOS, "max_new_tokens": 12, "sampling": Sampling(temperature=2.0)}
    together = dict(write_on(language, drafts, rows=rows, **settings))
    once = sum(read)
    assert together == dict(write_on(language, apart, rows=rows, **settings))
    assert sum(read) - once == len(drafts)
    assert once == {1: len(drafts), 30: len(prompts)}.get(rows, once) and (rows == 1 or once < len(drafts))
    assert len({tuple(ids) for ids in together.values()}) > len(prompts)


@pytest.mark.parametrize("temperature", [0.2, 2.0])
def test_texts_of_a_prompt_share_a_row_until_they_part(
    language: Any, prompts: list[Prompt], temperature: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    drafts = [prompt._replace(seed=seed) for prompt in prompts for seed in range(20)]
    computed: list[int] = []
    forward = language.forward

    def counted(**given: Any) -> Any:
        computed.append(len(given["inputs_embeds"]))
        return forward(**given)

    monkeypatch.setattr(language, "forward", counted)
    settings: dict[str, Any] = {"eos_id": EOS, "max_new_tokens": 12, "sampling": Sampling(temperature=temperature)}
    texts = dict(write_on(language, drafts, rows=len(drafts), **settings))
    first, *_ = computed
    assert first == len(prompts)
    said = {(place // 20, tuple(ids[:count])) for place, ids in texts.items() for count in range(len(ids))}
    assert len(said) <= sum(computed) < sum(map(len, texts.values())), "ended rows are written on for a while"
    for place in (0, 19, 70, 139):
        assert dict(write_on(language, [drafts[place]], rows=1, **settings)) == {0: texts[place]}


@pytest.mark.parametrize("rows", [1, 3])
def test_sampling_hangs_on_the_seed_alone(language: Any, prompts: list[Prompt], rows: int) -> None:
    torch.manual_seed(5)
    state = torch.get_rng_state()
    settings: dict[str, Any] = {"eos_id": EOS, "max_new_tokens": 12, "sampling": Sampling(temperature=2.0)}
    together = dict(write_on(language, prompts, rows=rows, **settings))
    assert torch.equal(torch.get_rng_state(), state)
    for place, prompt in enumerate(prompts):
        assert dict(write_on(language, [prompt], rows=1, **settings)) == {0: together[place]}
    reseeded = [prompt._replace(seed=99) for prompt in prompts]
    assert dict(write_on(language, reseeded, rows=rows, **settings)) != together


def test_a_sampler_with_no_choice_is_greedy(language: Any, prompts: list[Prompt]) -> None:
    settings: dict[str, Any] = {"rows": 3, "eos_id": EOS, "max_new_tokens": 12}
    greedy = list(write_on(language, prompts, **settings))
    for narrow in (Sampling(top_k=1), Sampling(temperature=5.0, top_p=1e-6)):
        assert greedy == list(write_on(language, prompts, **settings, sampling=narrow))


def test_ended_rows_wait_for_company_and_change_nothing(language: Any) -> None:
    generator = torch.Generator().manual_seed(2)
    many = [Prompt(torch.randn(3 + number % 7, 32, generator=generator)) for number in range(60)]
    written = dict(write_on(language, many, rows=24, eos_id=EOS, max_new_tokens=15))
    assert written == {place: by_hugging_face(language, prompt, 15) for place, prompt in enumerate(many)}


def test_quantities_are_chosen_by_their_median(language: Any, prompts: list[Prompt]) -> None:
    settings: dict[str, Any] = {"rows": 3, "eos_id": EOS, "max_new_tokens": 12}
    every = Quantities([[[id] for id in range(24)]])  # each token is the middle of what is believed
    for place, ids in write_on(language, prompts, **settings, quantities=every):
        scores = language(inputs_embeds=prompts[place].embeddings[None]).logits[0, -1]
        assert ids[0] == int((scores.softmax(dim=-1).cumsum(dim=-1) < 0.5).sum())
    plain = list(write_on(language, prompts, **settings))
    assert plain == list(write_on(language, prompts, **settings, quantities=Quantities([[[EOS]]])))


def test_no_prompts(language: Any) -> None:
    assert list(write_on(language, [], rows=4, eos_id=EOS, max_new_tokens=5)) == []
