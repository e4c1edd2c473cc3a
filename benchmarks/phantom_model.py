"""What a model finds on held-out phantoms of any seed, beside the image-free control and the bounds of the issue.

    python benchmarks/phantom_model.py --data data --model phantom [--control runs/control/model] [--count 300]

`data` is what `reg2rg phantom data --split valid --seed S --count N` wrote. Prints naming, findings by group and by
abnormality with 95 % intervals, side and size, and distinct texts; `--json FILE` keeps all figures.
"""

import argparse
import json
import time
from pathlib import Path

from reg2rg.evaluate.drawn import score_drawn
from reg2rg.generate import Reporter
from reg2rg.train.validation import report_valid, score_naming, with_truth


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--model", default="phantom")
    parser.add_argument("--control")
    parser.add_argument("--count", type=int, default=300)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()

    started = time.perf_counter()
    reports = report_valid(Reporter.load(args.model), args.data, args.count)
    seconds = time.perf_counter() - started
    control = None
    if args.control:
        control = with_truth(report_valid(Reporter.load(args.control), args.data, args.count), args.data)
    naming = score_naming(reports)
    scores = score_drawn(with_truth(reports, args.data), control)
    if args.json:
        args.json.write_text(json.dumps({"naming": naming, "findings": scores}, indent=1))

    print(f"{len(reports)} phantoms, {seconds / len(reports):.2f} s each")
    print(
        f"naming {naming['accuracy']:.4f}; lung {naming['per_region']['lung']:.3f}, "
        f"pleura {naming['per_region']['pleura']:.3f}; swaps {naming['swaps']}"
    )
    for name in ("micro", "macro"):
        print(f"{name:30} {row(scores[name])}")
    for name, rates in scores["groups"].items():
        print(f"{name:30} {row(rates)}")
    if control:
        print(f"{'control, micro':30} {row(scores['control']['micro'])}")
    print(
        f"side right {scores['side']['right']} of {scores['side']['stated']}, "
        f"size class right {scores['size']['right']} of {scores['size']['stated']}"
    )
    print()
    for name, rates in scores["per_abnormality"].items():
        gains = [scores["gain_over_always"][name], *([scores["gain_over_control"][name]] if control else [])]
        print(
            f"{name:34} {row(rates)} of {rates['support']:3}; gain over always"
            f"{' and control' if control else ''}: {'; '.join(str(gain['ci95']) for gain in gains)}"
        )
    print({region: found["distinct"] for region, found in scores["distinct_texts"].items()})


def row(rates: dict) -> str:
    values = [f"{rates[m]:.3f}" if rates[m] is not None else "-" for m in ("precision", "recall", "f1")]
    return f"P {values[0]} R {values[1]} F1 {values[2]} {rates['f1_ci95']}"


if __name__ == "__main__":
    main()
