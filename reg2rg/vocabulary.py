"""Text to ids, ids to labels, and back to text.

The language model's own tokenizer is used, with our special tokens behind its vocabulary. The label rules are those of
the published training: the loss is on the answer alone, its region names and its end token included.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import AutoTokenizer, PreTrainedTokenizerBase, PreTrainedTokenizerFast

from reg2rg.errors import InputError
from reg2rg.tokens import SpecialTokens

IGNORED_LABEL = -100
"""The label of what is not learned; what torch's cross-entropy ignores."""


@dataclass(frozen=True)
class Example:
    """One study's prompt and answer in ids, not padded; ends with the end token unless it was cut.

    Attributes:
        ids: token ids.
        attention: 1 for each token of the text; 0 for the end token, which is a label only, as published.
        labels: the ids to be predicted, `IGNORED_LABEL` elsewhere; not shifted.
        is_cut: the answer did not fit and lost its end, its end token included.
    """

    ids: tuple[int, ...]
    attention: tuple[int, ...]
    labels: tuple[int, ...]
    is_cut: bool = False


def encode_example(
    tokenizer: PreTrainedTokenizerBase, tokens: SpecialTokens, prompt: str, target: str, max_length: int
) -> Example:
    """Prompt and answer as one example of the published layout.

    Padded on the right with 0 to 2048 it is what the authors train on. An answer that leaves no place for the end
    token is cut at `max_length` and marked; it then ends without one, so that nobody learns to stop there.

    Args:
        tokenizer: as `load_tokenizer` gives it.
        tokens: the special tokens it was loaded with.
        prompt: as `prompt.build_prompt` writes it.
        target: as `prompt.build_target` writes it.
        max_length: longest example in tokens; 2048 as published.

    Raises:
        InputError: if the prompt alone fills `max_length`.
    """
    prompt_length = len(encode_text(tokenizer, prompt))
    if prompt_length >= max_length:
        raise InputError(
            f"the prompt has {prompt_length} tokens and leaves no place for an answer; "
            f"expected a max_length above that, got {max_length}"
        )
    ids = encode_text(tokenizer, f"{prompt} {target}")
    return label_example(ids, prompt_length, tokenizer.eos_token_id, len(tokenizer) - len(tokens), max_length)


def encode_text(tokenizer: PreTrainedTokenizerBase, text: str) -> list[int]:
    """The ids of a text, with the begin token in front and no end token. Inverse: `decode_text`."""
    return [tokenizer.bos_token_id, *tokenizer(text, add_special_tokens=False)["input_ids"]]


def token_spans(tokenizer: PreTrainedTokenizerBase, text: str) -> list[tuple[int, int]]:
    """Where each of `encode_text`'s ids lies in the text, its first letter and the one behind it; nowhere the first."""
    return [(0, 0), *tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)["offset_mapping"]]


def decode_text(tokenizer: PreTrainedTokenizerBase, ids: Sequence[int]) -> str:
    """The text of the ids, without begin, end and special tokens."""
    return str(tokenizer.decode(list(ids), skip_special_tokens=True, clean_up_tokenization_spaces=False))


def label_example(
    ids: Sequence[int], prompt_length: int, eos_id: int, text_vocabulary_size: int, max_length: int
) -> Example:
    """The end token and the labels of a text in ids.

    The published rule also ignores every label that equals the padding's id 0, and with it a real ``<unk>``. Here
    padding has no part in it, so an ``<unk>`` keeps its label; Llama's tokenizer, which falls back to bytes, never
    makes one.

    Args:
        ids: of prompt and answer.
        prompt_length: how many of them are the prompt's.
        eos_id: the end token.
        text_vocabulary_size: ids from here on are special tokens and never predicted.
        max_length: longest example, end token included.

    >>> label_example([1, 9, 100, 9, 7, 8], prompt_length=4, eos_id=2, text_vocabulary_size=100, max_length=8)
    Example(ids=(1, 9, 100, 9, 7, 8, 2), attention=(1, 1, 1, 1, 1, 1, 0),
        labels=(-100, -100, -100, -100, 7, 8, 2), is_cut=False)
    """
    is_cut = len(ids) >= max_length
    ended = tuple(ids[:max_length]) if is_cut else (*ids, eos_id)
    labels = tuple(
        token if place >= prompt_length and token < text_vocabulary_size else IGNORED_LABEL
        for place, token in enumerate(ended)
    )
    attention = (1,) * len(ended) if is_cut else (1,) * len(ids) + (0,)
    return Example(ended, attention, labels, is_cut)


def load_tokenizer(folder: Path, tokens: SpecialTokens, text_vocabulary_size: int) -> PreTrainedTokenizerBase:
    """The tokenizer of a language model's folder, with our special tokens behind its vocabulary.

    Llama folders are read as the published model was trained: the fast tokenizer with its older ("legacy") handling
    of blanks, which puts a piece for the blank before each special token. Nothing is downloaded or executed.

    Args:
        folder: holds the tokenizer's files; ours or the language model's.
        tokens: the special tokens; added unless the folder has them already.
        text_vocabulary_size: ids the language model has for text: 32000 for Llama-2.

    Raises:
        InputError: if there is no tokenizer, it has no begin or end token, or its vocabulary has another size, so
            that the special tokens would get other ids.
    """
    if not folder.is_dir():
        raise InputError(f"{folder}: expected a folder with a tokenizer, found none; give the language model's folder")
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False, legacy=True)
    except Exception as error:  # transformers raises many kinds for files it cannot use
        reason = next(iter(str(error).splitlines()), type(error).__name__)[:120]
        raise InputError(f"{folder}: expected a Hugging Face tokenizer, could not read one ({reason})") from error
    if tokenizer.bos_token_id is None or tokenizer.eos_token_id is None:
        raise InputError(f"{folder}: the tokenizer has no begin or no end token; a language model's has both")
    add_special_tokens(tokenizer, tokens)
    ids = tokens.ids(text_vocabulary_size)
    misplaced = [string for string, token in ids.items() if tokenizer.convert_tokens_to_ids(string) != token]
    if misplaced or len(tokenizer) != text_vocabulary_size + len(tokens):
        raise InputError(
            f"{folder}: expected a tokenizer of {text_vocabulary_size} text tokens, found "
            f"{len(tokenizer) - len(tokens)}; use the language model's original tokenizer, without added tokens"
        )
    return tokenizer


def add_special_tokens(tokenizer: PreTrainedTokenizerBase, tokens: SpecialTokens) -> None:
    """Puts the special tokens behind the vocabulary, in their order; those already there stay where they are."""
    added = [AddedToken(string, special=True, normalized=False) for string in tokens.strings]
    tokenizer.add_tokens(added, special_tokens=True)


Scale = Sequence[Sequence[int]]
"""Ids of tokens that say how much, from the least on; those of one step say the same."""

_DEGREES = (("minimal", "slight", "mild", "small"), ("moderate", "medium"), ("severe", "marked", "extensive", "large"))
_STEP_OF_DEGREE = {word: step for step, words in enumerate(_DEGREES) for word in words}


def step_of_degree(word: str) -> int | None:
    """The step of a word of degree, from 0 on; None for any other word.

    >>> step_of_degree("mildly"), step_of_degree("Marked"), step_of_degree("nodule")
    (0, 2, None)
    """
    return _STEP_OF_DEGREE.get(_stem(word))


def _stem(word: str) -> str:
    return word.lower().removesuffix("ly")


def scales(tokenizer: PreTrainedTokenizerBase) -> list[Scale]:
    """The whole numbers of a vocabulary, unless it spells them digit by digit, and its words of degree.

    >>> tokenizer = train_word_tokenizer(["Mild, moderately, 12 mm"] * 2, size=320)
    >>> numbers, degrees = scales(tokenizer)
    >>> tokenizer.convert_ids_to_tokens([numbers[-1][0], *degrees[0], *degrees[1]])
    ['12', 'Mild', 'Ġmoderately']
    """
    words: dict[str, list[int]] = {}
    for token, id in sorted(tokenizer.get_vocab().items()):
        words.setdefault(_stem(token.lstrip("Ġ▁")), []).append(id)
    numbers = sorted(int(word) for word in words if word.isascii() and word.isdigit() and str(int(word)) == word)
    degrees = [[id for word in step for id in words.get(word, ())] for step in _DEGREES]
    return [
        *([[words[str(number)] for number in numbers]] if max(numbers, default=0) > 9 else []),
        *([degrees] if any(degrees) else []),
    ]


def train_word_tokenizer(texts: Iterable[str], size: int) -> PreTrainedTokenizerFast:
    """A small tokenizer made of the given texts, for models trained from scratch.

    Byte pairs within words, so that frequent words become one token each and any other text is spelled out in
    bytes: nothing is unknown and decoding gives back each text letter by letter. Whole numbers are words, too: a size
    is one choice among all of them, and what never occurred is spelled in digits. Ids: 0 ``<unk>``, 1 ``<s>``,
    2 ``</s>`` as in Llama, 3 ``<pad>``.

    Args:
        texts: what the model will read and write; the sentences of the prompt too, lest they be spelled out.
        size: largest number of ids, at least 260 (the 256 bytes and the four above); few texts make fewer.

    Raises:
        InputError: if the size is too small.

    >>> tokenizer = train_word_tokenizer(["A nodule of 12 mm.", "A nodule of 7 mm."] * 9, size=300)
    >>> tokenizer.tokenize("A nodule of 12 mm, 38 before.")[:9]
    ['A', 'Ġnodule', 'Ġof', 'Ġ', '12', 'Ġmm', ',', 'Ġ', '3']
    >>> decode_text(tokenizer, encode_text(tokenizer, "A nodüle of 129 mm."))
    'A nodüle of 129 mm.'
    """
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    named = ["<unk>", "<s>", "</s>", "<pad>"]
    if size < len(named) + len(alphabet):
        raise InputError(f"expected a vocabulary of at least {len(named) + len(alphabet)} ids, got {size}")
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(vocab_size=size, special_tokens=named, initial_alphabet=alphabet, show_progress=False)
    tokenizer.train_from_iterator(texts, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, unk_token="<unk>", bos_token="<s>", eos_token="</s>", pad_token="<pad>"
    )
