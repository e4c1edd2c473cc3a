"""What a model finds on held-out phantoms of any seed, beside always stating it and an image-free control.

    python benchmarks/phantom_model.py --data data --model phantom [--control runs/ablations/none/model] [--count 300]

`data` is what `reg2rg phantom data --split valid --seed S --count N` wrote. Prints Markdown: naming, findings by group
and by abnormality with 95 % intervals, sides, sizes, distinct texts. `--json FILE` keeps all figures. `--orders 20`
measures naming in as many random orders of the prompt, too; `--swap-masks` shows each study the next one's masks.
Each model writes in its own way (`WritingConfig`), unless an option of `reg2rg generate` says otherwise.
"""

import argparse
import json
import time
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from reg2rg.cli import add_writing, writing_settings
from reg2rg.evaluate.drawn import score_drawn
from reg2rg.generate import Reporter
from reg2rg.train.validation import report_valid, score_naming, with_truth


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--model", default="phantom")
    parser.add_argument("--control")
    parser.add_argument("--count", type=int, default=300)
    parser.add_argument("--orders", type=int, default=0, help="random prompt orders in which naming is measured, too")
    parser.add_argument("--order-count", type=int, default=40, help="studies in each of them")
    parser.add_argument("--swap-masks", action="store_true", help="a control: each study has the next one's masks")
    add_writing(parser)
    parser.add_argument("--cache", type=Path, help="folder for crops and tokens, where models share their encoders")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()

    reporter = Reporter.load(args.model)
    settings = writing_settings(args)
    started = time.perf_counter()
    report = partial(report_valid, data=args.data, settings=settings, cache=args.cache)
    reports = report(reporter, limit=args.count, swap_masks=args.swap_masks)
    seconds = time.perf_counter() - started
    control = None
    if args.control:
        control = with_truth(report(Reporter.load(args.control), limit=args.count), args.data)
    naming = score_naming(reports)
    scores = score_drawn(with_truth(reports, args.data), control)
    orders = [score_naming(report(reporter, limit=args.order_count, order_seed=seed)) for seed in range(args.orders)]
    if args.json:
        written = settings.to_json(reporter.model.config.writing)
        found = {"studies": len(reports), "writing": written, "naming": naming, "findings": scores, "orders": orders}
        args.json.write_text(json.dumps(found, indent=1))
    print(f"{len(reports)} phantoms, {seconds / len(reports):.2f} s each\n")
    print_markdown(naming, scores)
    if orders:
        right = [order["accuracy"] for order in orders]
        print(f"\nNaming in {len(orders)} random orders, {args.order_count} phantoms each: ", end="")
        print(f"mean {np.mean(right):.4f}, least {min(right):.4f}")
        for region in ("lung", "pleura"):
            print(f"  {region}: {np.mean([order['per_region'][region] for order in orders]):.4f}")


def print_markdown(naming: dict[str, Any], scores: dict[str, Any]) -> None:
    regions = naming["per_region"]
    named = [
        *(f"{region} {regions[region]:.3f}" for region in ("lung", "pleura")),
        f"least {min(regions.values()):.3f}",
    ]
    print(f"Naming: {naming['accuracy']:.4f} of {naming['regions']} regions right; {', '.join(named)}.\n")
    print("| group | precision | recall | F1 | 95 % |\n|---|---|---|---|---|")
    groups = {"all 18, micro": scores["micro"], "all 18, macro": scores["macro"], **scores["groups"]}
    if "control" in scores:
        groups["image-free control, micro"] = scores["control"]["micro"]
    for name, rates in groups.items():
        print(f"| {name} | {_rates(rates)} |")
    for what in ("side", "size"):
        print(f"\n{what} right: {scores[what]['right']} of {scores[what]['stated']} stated.", end="")
    print("\n\n| abnormality | precision | recall | F1 | 95 % | support | gain over always | gain over control |")
    print("|---|---|---|---|---|---|---|---|")
    for name, rates in scores["per_abnormality"].items():
        gains = [scores["gain_over_always"][name], scores.get("gain_over_control", {}).get(name)]
        print(f"| {name} | {_rates(rates)} | {rates['support']} | {' | '.join(_interval(gain) for gain in gains)} |")
    print("\n| region | distinct texts among abnormal ones | texts |\n|---|---|---|")
    for region, found in scores["distinct_texts"].items():
        print(f"| {region} | {found['distinct']:.2f} | {found['texts']} |")


def _rates(rates: dict[str, Any]) -> str:
    values = [_number(rates[measure]) for measure in ("precision", "recall", "f1")]
    return " | ".join([*values, _interval({"ci95": rates["f1_ci95"]})])


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


def _interval(figure: dict[str, Any] | None) -> str:
    if figure is None or figure["ci95"] is None:
        return "-"
    return " to ".join(_number(limit) for limit in figure["ci95"])


if __name__ == "__main__":
    main()
