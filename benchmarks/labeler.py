"""How far the rule labeler agrees with RadBERT on real reports, and how fast it is.

    python benchmarks/labeler.py ../shared/reports/ctrg/label_inferred.csv [ABNORMALITY ...]

Prints F1 against RadBERT's labels per abnormality; for abnormalities that are named, each disagreement with the words
that the rules went by.
"""

import sys
import time
from pathlib import Path

import numpy as np

from reg2rg.abnormalities import ABNORMALITY_NAMES
from reg2rg.evaluate.clinical import clinical_scores
from reg2rg.evaluate.labeler import COUNTED, RuleLabeler
from reg2rg.evaluate.labels import read_inferred_labels


def main(path: Path, shown: list[str]) -> None:
    inferred = read_inferred_labels(path)
    texts = [*inferred.references, *inferred.predictions]
    radbert = np.concatenate([inferred.reference_labels, inferred.predicted_labels])
    labeler = RuleLabeler()
    start = time.process_time()
    rules = labeler.label(texts)
    seconds = time.process_time() - start
    scores = clinical_scores(radbert, rules, labeler.name)
    print(f"{labeler.name} against RadBERT: {len(texts)} texts, {seconds:.2f} CPU seconds")
    print(f"{'abnormality':34} {'RadBERT':>7} {'rules':>5} {'both':>5} {'F1':>6}")
    for index, (name, rates) in enumerate(scores.per_abnormality.items()):
        both = (radbert & rules)[:, index].sum()
        print(f"{name:34} {rates.support:7} {rules[:, index].sum():5} {both:5} {rates.f1:6.3f}")
    print(f"{'micro / macro F1':34} {'':19} {scores.micro.f1:6.3f} / {scores.macro.f1:.3f}")
    for name in shown:
        show_disagreements(name, texts, radbert, rules, labeler)


def show_disagreements(
    name: str, texts: list[str], radbert: np.ndarray, rules: np.ndarray, labeler: RuleLabeler
) -> None:
    index = ABNORMALITY_NAMES.index(name)
    for text, theirs, ours in zip(texts, radbert[:, index], rules[:, index], strict=True):
        if theirs != ours:
            words = [text[e.start : e.end] for e in labeler.find(text) if e.abnormality == name and e.status in COUNTED]
            print(f"\n{name}: {'RadBERT' if theirs else 'rules, by ' + '; '.join(words)}\n    {text}")


if __name__ == "__main__":
    if len(sys.argv) < 2 or any(name not in ABNORMALITY_NAMES for name in sys.argv[2:]):
        sys.exit(__doc__)
    main(Path(sys.argv[1]), sys.argv[2:])
