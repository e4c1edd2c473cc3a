"""CPU seconds of the text scores, beside plain loops over the libraries; medians of five runs.

    python benchmarks/text_scores.py FILE [FILE ...] [--bootstrap]

Each FILE is a table of reports as `reg2rg evaluate` takes it. ``--bootstrap`` also draws, once, 1000 resamples of each
single report's ROUGE, as the authors' script does (minutes). The libraries' METEOR asks our synonym table, without its
cache, and gets our sentences: NLTK's WordNet and sentence model are downloads.
"""

import argparse
import math
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from types import SimpleNamespace
from typing import Any

import numpy as np

from reg2rg.evaluate.sentences import split_sentences
from reg2rg.evaluate.stemmer import stem
from reg2rg.evaluate.synonyms import synonyms
from reg2rg.evaluate.tables import read_reports
from reg2rg.evaluate.text import TEXT_METRICS, score_texts
from reg2rg.evaluate.tokenize import words_of_chunk, words_of_plain_chunk, words_of_sentence

RUNS = 5
FAMILIES = {"BLEU": TEXT_METRICS[:4], "METEOR": ("METEOR",), "ROUGE": TEXT_METRICS[5:8], "CIDEr": ("CIDEr",)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("files", nargs="+", type=Path)
    parser.add_argument("--bootstrap", action="store_true", help="also the authors' bootstrap of each report (minutes)")
    args = parser.parse_args()
    for path in args.files:
        compare_with_libraries(path, args.bootstrap)


def compare_with_libraries(path: Path, with_bootstrap: bool) -> None:
    table = read_reports(path)
    texts = table.references, table.predictions
    print(f"{path.name}: {len(table.keys)} pairs")
    print(f"  {'':22}{'ours':>10}{'libraries':>12}{'factor':>9}   largest difference")
    score_texts(["a"], ["b"])  # imports and tables, as below for the libraries; the whole command pays for them
    ours_all, _ = seconds_of(score_texts, *texts)
    theirs_all = 0.0
    for family, names in FAMILIES.items():
        ours, scores = seconds_of(score_texts, *texts, metrics=names)
        LIBRARIES[family](["a"], ["b"])
        theirs, values = seconds_of(LIBRARIES[family], *texts)
        theirs_all += theirs
        difference = np.abs(np.array(values).T - np.array(list(scores.per_report.values()))).max()
        show(family, ours, theirs, f"{difference:.1e}")
    show("all, in one run", ours_all, theirs_all)
    if with_bootstrap:
        show("all, with bootstrap", ours_all, theirs_all + seconds_of(bootstrap_each_report, *texts, runs=1)[0])
    show("whole command", command_seconds(path), math.nan)


def show(name: str, ours: float, theirs: float, note: str = "") -> None:
    other = f"{theirs:10.2f} s{theirs / ours:8.0f}x" if math.isfinite(theirs) else ""
    print(f"  {name:22}{ours:8.2f} s{other}   {note}", flush=True)


def forget() -> None:
    """Empties the caches of words, so that each family pays for its own."""
    for cached in (synonyms, stem, words_of_chunk, words_of_plain_chunk, words_of_sentence):
        cached.cache_clear()


def seconds_of(job: Callable[..., Any], *arguments: Any, runs: int = RUNS, **choices: Any) -> tuple[float, Any]:
    """Median CPU seconds of a job that starts without cached words, and what it returns."""
    seconds = []
    for _ in range(runs):
        forget()
        started = time.process_time()
        result = job(*arguments, **choices)
        seconds.append(time.process_time() - started)
    return median(seconds), result


def command_seconds(path: Path) -> float:
    """CPU seconds of `reg2rg evaluate FILE` with all text scores and their intervals, from start to end."""
    import resource

    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    program = [str(Path(sys.executable).with_name("reg2rg")), "evaluate", str(path), "--labeler", "none"]
    subprocess.run(program, check=True, stdout=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def library_bleu(references: Sequence[str], predictions: Sequence[str]) -> list[list[float]]:
    from sacrebleu.tokenizers.tokenizer_13a import Tokenizer13a

    tokenize = Tokenizer13a()
    return [
        [smoothed_bleu(tokenize(reference).split(), tokenize(prediction).split(), order) for order in (1, 2, 3, 4)]
        for reference, prediction in zip(references, predictions, strict=True)
    ]


def smoothed_bleu(reference: list[str], prediction: list[str], highest: int) -> float:
    logs = 0.0
    for order in range(1, highest + 1):
        counts = [
            Counter(tuple(words[place : place + order]) for place in range(len(words) - order + 1))
            for words in (reference, prediction)
        ]
        logs += math.log(((counts[0] & counts[1]).total() + 1) / (counts[1].total() + 1))
    if not reference or not prediction:
        return 0.0
    return math.exp(logs / highest + min(0.0, 1 - len(reference) / len(prediction)))


def library_rouge(references: Sequence[str], predictions: Sequence[str]) -> list[list[float]]:
    from rouge_score.rouge_scorer import RougeScorer

    scorer = RougeScorer(["rouge1", "rouge2", "rougeL"])
    pairs = zip(references, predictions, strict=True)
    return [[score.fmeasure for score in scorer.score(*pair).values()] for pair in pairs]


def library_meteor(references: Sequence[str], predictions: Sequence[str]) -> list[list[float]]:
    from nltk.tokenize import NLTKWordTokenizer
    from nltk.translate.meteor_score import single_meteor_score

    tokenize = NLTKWordTokenizer().tokenize
    find = synonyms.__wrapped__  # looks each word up again, as NLTK does
    wordnet = SimpleNamespace(
        synsets=lambda word: [
            SimpleNamespace(lemmas=lambda: [SimpleNamespace(name=lambda name=name: name) for name in find(word)])
        ]
    )

    def words(text: str) -> list[str]:
        return [word for sentence in split_sentences(text) for word in tokenize(sentence)]

    pairs = zip(references, predictions, strict=True)
    return [[single_meteor_score(words(one), words(other), wordnet=wordnet)] for one, other in pairs]


def library_cider(references: Sequence[str], predictions: Sequence[str]) -> list[list[float]]:
    from pycocoevalcap.cider.cider_scorer import CiderScorer

    scorer = CiderScorer(n=4, sigma=6.0)
    for reference, prediction in zip(references, predictions, strict=True):
        scorer += (prediction, [reference])
    return [[float(value)] for value in scorer.compute_score()[1]]


def bootstrap_each_report(references: Sequence[str], predictions: Sequence[str]) -> None:
    from rouge_score.rouge_scorer import RougeScorer
    from rouge_score.scoring import BootstrapAggregator

    scorer = RougeScorer(["rouge1", "rouge2", "rougeL"])
    for reference, prediction in zip(references, predictions, strict=True):
        aggregator = BootstrapAggregator()
        aggregator.add_scores(scorer.score(reference, prediction))
        aggregator.aggregate()


LIBRARIES = {"BLEU": library_bleu, "METEOR": library_meteor, "ROUGE": library_rouge, "CIDEr": library_cider}

if __name__ == "__main__":
    main()
