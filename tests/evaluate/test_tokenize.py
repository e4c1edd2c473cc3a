"""Our tokenizers against the libraries whose figures are to be reproduced."""

import json
import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nltk.stem import PorterStemmer
from nltk.tokenize import NLTKWordTokenizer
from nltk.tokenize.punkt import PunktParameters, PunktSentenceTokenizer
from rouge_score.tokenizers import DefaultTokenizer
from sacrebleu.tokenizers.tokenizer_13a import Tokenizer13a

from reg2rg.evaluate.rouge import stemmed_words
from reg2rg.evaluate.sentences import split_sentences
from reg2rg.evaluate.stemmer import stem
from reg2rg.evaluate.synonyms import synonyms
from reg2rg.evaluate.tokenize import rouge_words, treebank_words, wmt_words

HOSTILE = (
    "",
    " ",
    ".",
    "?!...,;:",
    "''\"\"``",
    "nodule",
    'The 3.5-mm nodule (SE5, IM204), was <not> "seen"; it\'s 5,3%...',
    "cannot gonna gimme d'ye more'n 'tis 'twas wanna go lemme",
    "&quot;A&amp;B&gt;&lt;<skipped> end-\nof line",
    "肺部未见异常。心影不大。",
    "Лёгкие чистые. Сердце не увеличено.",
    "🫁 clear 🫀 enlarged 👍🏽.",
    "nodule " * 10_000,
    "A. B. C. d. 5. e.",
    "..a.,b,.c-1-2-.3",
)
PIECES = [*"aAbs019.,;:!?-–—'\"`()[]{}<>&%$#@*/ \n\t«»“”‘’", "n't", "'s", "cannot", "gonna", " 'tis", "...", "--", "''"]
texts = st.one_of(
    st.text(max_size=60),
    st.lists(st.sampled_from(PIECES), max_size=40).map("".join),
)
plain = st.lists(st.sampled_from([piece for piece in PIECES if piece not in "\n\t"]), max_size=40).map("".join)
words = st.text("abcdefghijklmnopqrstuvwxyz", max_size=14)


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_texts(text: str) -> None:
    assert wmt_words(text) == Tokenizer13a()(text).split()
    assert rouge_words(text) == DefaultTokenizer(use_stemmer=False).tokenize(text)
    assert stemmed_words(text) == DefaultTokenizer(use_stemmer=True).tokenize(text)
    oracle = NLTKWordTokenizer()
    assert treebank_words(text) == [word for part in split_sentences(text) for word in oracle.tokenize(part)]


@given(texts)
def test_wmt_words(text: str) -> None:
    assert wmt_words(text) == Tokenizer13a()(text).split()


@given(texts)
def test_rouge_words(text: str) -> None:
    assert rouge_words(text) == DefaultTokenizer(use_stemmer=False).tokenize(text)
    assert stemmed_words(text) == DefaultTokenizer(use_stemmer=True).tokenize(text)


@settings(max_examples=150, deadline=None)
@given(st.one_of(plain, plain.map(lambda text: re.sub("[\"'`«»“”‘’]", "", text))))
def test_treebank_words(text: str) -> None:
    oracle = NLTKWordTokenizer()
    assert treebank_words(text) == [word for part in split_sentences(text) for word in oracle.tokenize(part)]


@settings(max_examples=150)
@given(words, st.sampled_from("s es ed ing ly ally fully logy ational ization iveness ies ied y eed ll".split()))
def test_stems(word: str, ending: str) -> None:
    oracle = PorterStemmer()
    assert stem(word + ending) == oracle.stem(word + ending)
    assert stem(word) == oracle.stem(word)


def test_stems_of_short_and_irregular_words() -> None:
    oracle = PorterStemmer()
    for word in "ied ies ed ing y yy sky skies dying news howe oed falling hopping filing agreed feed".split():
        assert stem(word) == oracle.stem(word), word


@pytest.mark.parametrize(
    ("text", "sentences"),
    [
        ("", []),
        ("  ", []),
        ("No nodule", ["No nodule"]),
        ("Clear. no nodule. End", ["Clear.", "no nodule.", "End"]),
        ("On CT. The liver is large.", ["On CT.", "The liver is large."]),
        ("On CT. findings are normal.", ["On CT. findings are normal."]),
        ("On non-contrast CT. findings.", ["On non-contrast CT. findings."]),
        ("On (CT. findings)", ["On (CT. findings)"]),
        ("See image 8. A nodule.", ["See image 8.", "A nodule."]),
        ("See image 8. a nodule.", ["See image 8. a nodule."]),
        ("Vitamin D. Normal.", ["Vitamin D. Normal."]),
        ("(Nodule?) Yes.", ["(Nodule?)", "Yes."]),
        ('He said "no." Yes!', ['He said "no."', "Yes!"]),
        ("3.5 mm", ["3.5 mm"]),
    ],
)
def test_sentences(text: str, sentences: list[str]) -> None:
    assert split_sentences(text) == sentences


SENTENCES = st.lists(
    st.sampled_from("The lungs are clear. nodule? (3.5 mm) seen! no 8. A effusion, CT. right; left: mm. dr.".split()),
    max_size=25,
).map(" ".join)


@settings(max_examples=100)
@given(SENTENCES)
def test_sentences_as_punkt_decides_them(text: str) -> None:
    """The algorithm of NLTK with the little knowledge that we have ourselves: abbreviations and words of its starts.

    Words of a sentence, not the sentences, are compared: Punkt splits between a question mark and a closing bracket.
    """
    parameters = PunktParameters()
    parameters.abbrev_types = {"ct", "dr"}
    parameters.sent_starters = {"the"}
    for word in "the lungs are clear nodule seen no a effusion right left mm".split():
        parameters.add_ortho_context(word, 2 | 4 | 8 | 16 | 64)  # seen in either case, anywhere
    oracle = NLTKWordTokenizer()
    punkt = PunktSentenceTokenizer(parameters)
    assert treebank_words(text) == [word for part in punkt.tokenize(text) for word in oracle.tokenize(part)]


@given(texts)
def test_sentences_hold_the_whole_text(text: str) -> None:
    assert re.sub(r"\s", "", "".join(split_sentences(text))) == re.sub(r"\s", "", text)


def test_synonyms() -> None:
    assert "increase" in synonyms("growth")
    assert synonyms("xyzzy") == {"xyzzy"}
    assert "child" in synonyms("children")  # an exceptional plural
    assert synonyms("") == {""}


def test_the_table_has_its_licence() -> None:
    folder = Path(__file__).resolve().parents[2] / "reg2rg/evaluate/wordnet"
    assert "Princeton University" in (folder / "LICENSE.txt").read_text()
    assert json.dumps(sorted(path.name for path in folder.iterdir())) == json.dumps(
        ["LICENSE.txt", "single_word_synonyms.json.gz"]
    )
