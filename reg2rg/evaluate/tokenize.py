"""Texts to words, in the three ways of the published figures; a fourth, CIDEr's, is ``str.split``.

- `wmt_words`: the tokenizer "13a" of the WMT evaluations, for BLEU.
- `rouge_words`: runs of lower-case ASCII letters and digits, for ROUGE.
- `treebank_words`: sentences, then Penn Treebank words as NLTK's ``word_tokenize`` makes them, for METEOR.

All accept any text. Tests compare each with the library that it stands for.
"""

import re
from functools import lru_cache
from string import punctuation

from reg2rg.evaluate.sentences import split_sentences

_ENTITIES = (("&quot;", '"'), ("&amp;", "&"), ("&lt;", "<"), ("&gt;", ">"))
_WMT_SYMBOLS = {ord(symbol): f" {symbol} " for symbol in set(punctuation) - set("',-.")}
_WMT_POINT_AFTER_OTHER = re.compile(r"([^0-9])([.,])")
_WMT_POINT_BEFORE_OTHER = re.compile(r"([.,])([^0-9])")
_WMT_DASH_AFTER_DIGIT = re.compile(r"([0-9])(-)")


def wmt_words(text: str) -> list[str]:
    """Words by the WMT rules: punctuation stands alone, but not inside numbers; case is kept.

    >>> wmt_words("A 3.5-mm nodule (right).")
    ['A', '3.5', '-', 'mm', 'nodule', '(', 'right', ')', '.']
    """
    text = text.replace("<skipped>", "").replace("-\n", "").replace("\n", " ")
    if "&" in text:
        for entity, character in _ENTITIES:
            text = text.replace(entity, character)
    words: list[str] = []
    for chunk in text.split():
        if chunk.isalnum():
            words.append(chunk)
        else:
            words += words_of_chunk(chunk)
    return words


@lru_cache(maxsize=65536)
def words_of_chunk(chunk: str) -> tuple[str, ...]:
    """WMT words of what stands between blanks, beyond which no rule looks. Reports repeat most of it."""
    text = f" {chunk} ".translate(_WMT_SYMBOLS)
    text = _WMT_POINT_AFTER_OTHER.sub(r"\1 \2 ", text)
    text = _WMT_POINT_BEFORE_OTHER.sub(r" \1 \2", text)
    return tuple(_WMT_DASH_AFTER_DIGIT.sub(r"\1 \2 ", text).split())


_ROUGE_WORD = re.compile(r"[a-z0-9]+")


def rouge_words(text: str) -> list[str]:
    """Words by the ROUGE rules: lower case, everything but ASCII letters and digits separates.

    >>> rouge_words("A 3.5-mm Nodule.")
    ['a', '3', '5', 'mm', 'nodule']
    """
    return _ROUGE_WORD.findall(text.lower())


def treebank_words(text: str) -> list[str]:
    """Words by the Penn Treebank rules, sentence by sentence; the case is kept.

    Only the period at the end of a sentence stands alone, so the words depend on where sentences end.

    >>> treebank_words("It can't be 3.5 mm. No effusion.")
    ['It', 'ca', "n't", 'be', '3.5', 'mm', '.', 'No', 'effusion', '.']
    """
    return [word for sentence in split_sentences(text) for word in words_of_sentence(sentence)]


_FINAL_PERIOD = r"""\.(?<=[^.]\.)([\])}>"'»”’ ]*+)\s*\Z"""

# Each step rewrites the whole sentence, in this order; what is then between blanks is a word.
_TREEBANK_STEPS = tuple(
    (re.compile(pattern), replacement)
    for pattern, replacement in (
        # Opening quotes become two backquotes.
        (r"([«“‘„]|`+)", r" \1 "),
        (r'\A"', r" `` "),
        (r"``", r" `` "),
        (r"""([ (\[{<])("|'')""", r"\1 `` "),
        (r"(?i)(?<!\w)'(?!(?:re|ve|ll|m|t|s|d|n)\b)(?=\w)", r"' "),
        # The period that ends the sentence, with what may close after it.
        (_FINAL_PERIOD, r" . \1 "),
        (r"([:,])(\D)", r" \1 \2"),
        (r"([:,])(?=\n?\Z)", r" \1 "),
        (r"(\.{2,}|[;@#$%&\u2012-\u2015?!*])", r" \1 "),
        (r"([^'])' ", r"\1 ' "),
        (r"([\]\[(){}<>]|--)", r" \1 "),
        (r"\A|\Z", r" "),
        # Closing quotes become two apostrophes; clitics come off their words.
        (r"([»”’])", r" \1 "),
        (r"""''|\"""", r" '' "),
        (r"\s+", r" "),
        (r"([^' ])('[sSmMdD]|') ", r"\1 \2 "),
        (r"([^' ])('ll|'LL|'re|'RE|'ve|'VE|n't|N'T) ", r"\1 \2 "),
    )
)
# In a sentence without quotes, without two such marks in a row, and with a word at its end, as most are, two steps are
# left, and they look no further than the blanks around a word.
_ODD = re.compile(r"[\"'`«»“”‘’„]|[:,]{2}|\s[\])}>\s]*\Z")
_PLAIN_FINAL_PERIOD = re.compile(_FINAL_PERIOD)
_PLAIN_SYMBOL = re.compile(r"(\.{2,}|--|[;@#$%&\u2012-\u2015?!*\]\[(){}<>]|[:,](?=\D|\Z))")

# Contractions that are two words, and what must stand around them.
_CONTRACTION = re.compile(
    r"(?i)(?:\b(?:(can)(not)|(d)('ye)|(gim)(me)|(gon)(na)|(got)(ta)|(lem)(me)|(more)('n)|(wan)(na)(?=\s))"
    r"| ('t)(is|was))\b"
)


@lru_cache(maxsize=65536)
def words_of_sentence(sentence: str) -> tuple[str, ...]:
    """Penn Treebank words of one sentence. Reports repeat their sentences, so that most are found in the cache."""
    if _ODD.search(sentence):
        for pattern, replacement in _TREEBANK_STEPS:
            sentence = pattern.sub(replacement, sentence)
        return _split_contractions(sentence)
    *inner, last = sentence.split() or [""]
    words: list[str] = []
    for chunk in inner:
        words += words_of_plain_chunk(chunk, False)
    words += words_of_plain_chunk(last, True)
    return tuple(words)


@lru_cache(maxsize=65536)
def words_of_plain_chunk(chunk: str, at_end: bool) -> tuple[str, ...]:
    """Penn Treebank words of what stands between blanks in a sentence without oddities, or at its end."""
    text = _PLAIN_FINAL_PERIOD.sub(r" . \1 ", chunk) if at_end else f"{chunk} "
    return _split_contractions(_PLAIN_SYMBOL.sub(r" \1 ", text))


def _split_contractions(sentence: str) -> tuple[str, ...]:
    sentence = _CONTRACTION.sub(lambda found: " " + " ".join(filter(None, found.groups())) + " ", sentence)
    return tuple(sentence.split())
