import json
import os
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, pre_tokenizers, trainers
from transformers import LlamaTokenizer

from reg2rg.errors import InputError
from reg2rg.prompt import INSTRUCTION, build_prompt, build_target
from reg2rg.tokens import SpecialTokens
from reg2rg.vocabulary import (
    IGNORED_LABEL,
    decode_text,
    encode_example,
    encode_text,
    label_example,
    load_tokenizer,
    scales,
    token_spans,
    train_word_tokenizer,
)

GOLDEN = json.loads((Path(__file__).parent / "golden/golden_prompt.json").read_text())
PUBLISHED = SpecialTokens(num_latents=32, max_regions=10)
SMALL = SpecialTokens(num_latents=2, max_regions=3)
LLAMA_EOS = 2

SENTENCES = [
    INSTRUCTION,
    "The global information is provided as the context: . The region 0 is . ",
    build_target([("lung", "A solid nodule of 12 mm is seen in the right lower lobe; no effusion."), ("heart", "")]),
    build_target([("trachea and bronchie", "Open.")], {"pleura": "No effusion (3 x 4 mm).", "other": ""}),
] * 3


@pytest.fixture(scope="module")
def word_tokenizer():
    return train_word_tokenizer(SENTENCES, size=400)


@pytest.fixture(scope="module")
def llama_folder(tmp_path_factory):
    """A tokenizer of Llama's kind in a folder; 400 tokens."""
    trained = Tokenizer(models.BPE(byte_fallback=True))
    trained.pre_tokenizer = pre_tokenizers.Metaspace()
    named = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256))]
    trained.train_from_iterator(
        SENTENCES, trainers.BpeTrainer(vocab_size=400, special_tokens=named, show_progress=False)
    )
    model = json.loads(trained.to_str())["model"]
    tokenizer = LlamaTokenizer(vocab=model["vocab"], merges=[tuple(merge) for merge in model["merges"]])
    folder = tmp_path_factory.mktemp("llama")
    tokenizer.save_pretrained(folder)
    return folder


def test_published_labels_and_end_token():
    """The stored arrays reach to one place behind the end token; all from there on is padding."""
    end = GOLDEN["eos_index"]
    example = label_example(
        GOLDEN["lang_x"][:end], GOLDEN["prompt_token_count"], LLAMA_EOS, 32000, max_length=GOLDEN["max_seq"]
    )
    assert list(example.ids) == GOLDEN["lang_x"][: end + 1]
    assert list(example.labels) == GOLDEN["label"][: end + 1]
    assert sum(example.attention) == GOLDEN["attention_mask_sum"] == GOLDEN["full_token_count"]
    assert example.attention[end] == GOLDEN["attention_mask_at_eos"]
    assert sum(label != IGNORED_LABEL for label in example.labels) == GOLDEN["n_label"]
    assert set(GOLDEN["lang_x"][end + 1 :]) <= {0} and set(GOLDEN["label"][end + 1 :]) <= {IGNORED_LABEL}


@pytest.mark.parametrize(("ids", "prompt"), [("lang_x", "prompt"), ("test_ids", "test_question")])
def test_published_ids_of_the_special_tokens(ids, prompt):
    known = PUBLISHED.ids(32000)
    in_text = [known[string] for string in re.findall(r"</?(?:image|region)\d*>", GOLDEN[prompt])]
    assert [token for token in GOLDEN[ids] if token >= 32000] == in_text


@pytest.mark.parametrize(
    ("max_length", "ids", "labels", "is_cut"),
    [
        (6, (1, 9, 7, 8, 0, 2), (-100, -100, 7, 8, 0, 2), False),
        (5, (1, 9, 7, 8, 0), (-100, -100, 7, 8, 0), True),
        (4, (1, 9, 7, 8), (-100, -100, 7, 8), True),
    ],
)
def test_no_end_token_where_the_answer_was_cut(max_length, ids, labels, is_cut):
    example = label_example([1, 9, 7, 8, 0], prompt_length=2, eos_id=2, text_vocabulary_size=50, max_length=max_length)
    assert (example.ids, example.labels, example.is_cut) == (ids, labels, is_cut)
    assert len(example.attention) == len(ids) and sum(example.attention) == min(5, max_length)


def test_labels_of_an_example_read_as_the_target(word_tokenizer, tmp_path):
    word_tokenizer.save_pretrained(tmp_path)
    tokenizer = load_tokenizer(tmp_path, SMALL, len(word_tokenizer))
    prompt, target = build_prompt(2, SMALL), build_target([("lung", "A 4 mm nodule."), ("heart", "")])
    example = encode_example(tokenizer, SMALL, prompt, target, max_length=1000)
    learned = [label for label in example.labels if label != IGNORED_LABEL]
    assert learned[-1] == tokenizer.eos_token_id == 2
    assert decode_text(tokenizer, learned) == " " + target
    assert example.ids[0] == tokenizer.bos_token_id == 1
    assert tokenizer.decode(example.ids) == f"<s>{prompt} {target}</s>"
    assert not example.is_cut


def test_prompt_that_fills_the_length_is_refused(word_tokenizer):
    with pytest.raises(InputError, match=r"the prompt has \d+ tokens .* got 20"):
        encode_example(word_tokenizer, SMALL, INSTRUCTION, "", max_length=20)


def test_special_tokens_get_the_ids_behind_the_vocabulary(llama_folder, tmp_path):
    tokenizer = load_tokenizer(llama_folder, SMALL, 400)
    assert tokenizer.convert_tokens_to_ids(list(SMALL.strings)) == list(range(400, 400 + len(SMALL)))
    tokenizer.save_pretrained(tmp_path)
    again = load_tokenizer(tmp_path, SMALL, 400)
    assert len(again) == 400 + len(SMALL)
    prompt = build_prompt(3, SMALL)
    assert encode_text(again, prompt) == encode_text(tokenizer, prompt)


def test_llama_folders_put_a_piece_for_the_blank_before_special_tokens(llama_folder):
    tokenizer = load_tokenizer(llama_folder, SMALL, 400)
    pieces = tokenizer.convert_ids_to_tokens(encode_text(tokenizer, "context: <image><image0></image>. The region"))
    middle = pieces.index("<image>")
    assert pieces[0] == "<s>"
    assert pieces[middle - 1 : middle + 4] == ["▁", "<image>", "<image0>", "</image>", "▁."]


def test_base_tokenizer_with_an_extra_token_is_refused(llama_folder, tmp_path):
    tokenizer = LlamaTokenizer.from_pretrained(llama_folder)
    tokenizer.add_tokens(["<pad>"])
    tokenizer.save_pretrained(tmp_path)
    with pytest.raises(InputError, match="expected a tokenizer of 400 text tokens, found 401"):
        load_tokenizer(tmp_path, SMALL, 400)


def test_folder_of_other_special_tokens_is_refused(llama_folder, tmp_path):
    load_tokenizer(llama_folder, SMALL, 400).save_pretrained(tmp_path)
    with pytest.raises(InputError, match="expected a tokenizer of 400 text tokens"):
        load_tokenizer(tmp_path, SpecialTokens(num_latents=3, max_regions=3), 400)


def test_folders_without_a_tokenizer_are_refused(tmp_path):
    with pytest.raises(InputError, match="found none"):
        load_tokenizer(tmp_path / "nowhere", SMALL, 400)
    with pytest.raises(InputError, match="could not read one") as caught:
        load_tokenizer(tmp_path, SMALL, 400)
    assert "\n" not in str(caught.value)


def test_tokenizer_without_an_end_token_is_refused(word_tokenizer, tmp_path):
    word_tokenizer.save_pretrained(tmp_path)
    settings = json.loads((tmp_path / "tokenizer_config.json").read_text())
    del settings["eos_token"]
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(settings))
    with pytest.raises(InputError, match="no begin or no end token"):
        load_tokenizer(tmp_path, SMALL, len(word_tokenizer))


def test_trained_tokenizer_is_reproducible_and_keeps_its_size(word_tokenizer):
    assert train_word_tokenizer(SENTENCES, size=400).get_vocab() == word_tokenizer.get_vocab()
    assert len(word_tokenizer) == 400
    assert word_tokenizer.convert_ids_to_tokens([0, 1, 2, 3]) == ["<unk>", "<s>", "</s>", "<pad>"]


def test_whole_numbers_are_words_in_their_order():
    texts = [f"A nodule of {number} mm." for number in (7, 12, 12, 30, 30, 120, 120)]
    tokenizer = train_word_tokenizer(texts, size=400)
    (numbers,) = scales(tokenizer)
    assert tokenizer.convert_ids_to_tokens([id for step in numbers for id in step]) == [
        *map(str, range(10)), "12", "30", "120",
    ]  # fmt: skip
    assert tokenizer.tokenize("12 mm, 120 mm, 99 mm")[::4] == ["12", "120", "9"]


def test_degrees_are_one_scale_with_synonyms_and_adverbs():
    tokenizer = train_word_tokenizer(["Severe, markedly, mild, moderate, mildly, x1"] * 2, size=400)
    (degrees,) = scales(tokenizer)  # numbers are digits there
    steps = [sorted(tokenizer.convert_ids_to_tokens(list(step))) for step in degrees]
    assert steps == [["Ġmild", "Ġmildly"], ["Ġmoderate"], ["Severe", "Ġmarkedly"]]


def test_a_vocabulary_without_either_has_no_scale():
    assert scales(train_word_tokenizer(["Clear.", "Normal."], size=300)) == []


@given(text=st.text(max_size=60) | st.sampled_from(SENTENCES))
def test_trained_tokenizer_gives_back_every_text(word_tokenizer, text):
    ids = encode_text(word_tokenizer, text)
    if not any(name in text for name in word_tokenizer.all_special_tokens):
        assert decode_text(word_tokenizer, ids) == text
        assert 0 not in ids


@pytest.mark.parametrize("text", SENTENCES[:4])
def test_tokens_lie_in_the_text_where_it_is_said(word_tokenizer, text):
    ids, spans = encode_text(word_tokenizer, text), token_spans(word_tokenizer, text)
    assert spans[0] == (0, 0)
    said = [decode_text(word_tokenizer, [token]) for token in ids[1:]]
    assert [text[begin:end] for begin, end in spans[1:]] == said


def test_vocabulary_smaller_than_the_bytes_is_refused():
    with pytest.raises(InputError, match="at least 260 ids, got 100"):
        train_word_tokenizer(SENTENCES, size=100)


def test_published_ids_with_a_real_llama_tokenizer():
    folder = os.environ.get("REG2RG_LLAMA_DIR")
    if not folder:
        pytest.skip("needs a Llama-2 folder, named by the environment variable REG2RG_LLAMA_DIR")
    tokenizer = load_tokenizer(Path(folder), PUBLISHED, 32000)
    example = encode_example(tokenizer, PUBLISHED, GOLDEN["prompt"], GOLDEN["target"], GOLDEN["max_seq"])
    end = GOLDEN["eos_index"] + 1
    assert list(example.ids) == GOLDEN["lang_x"][:end]
    assert list(example.labels) == GOLDEN["label"][:end]
    assert encode_text(tokenizer, GOLDEN["test_question"]) == GOLDEN["test_ids"]
    lengths = {str(n): len(encode_text(tokenizer, build_prompt(n, PUBLISHED))) for n in range(1, 11)}
    assert lengths == GOLDEN["prompt_length_by_region_count"]
