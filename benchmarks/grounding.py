"""Do sentences hang on their lesions? Takes each lesion out of held-out phantoms and reports them again.

python benchmarks/grounding.py --model phantom --seed 9000 --count 300 [--json FILE] [--markdown docs/GROUNDING.md]

The model writes in its own way; `--regions-per-prompt 10` asks for all regions in one prompt, as published.
"""

import argparse
import json
from pathlib import Path
from typing import Any

from scipy.stats import binomtest
from tqdm import tqdm

from reg2rg.generate import GenerationSettings, Reporter
from reg2rg.grounding import measure_grounding
from reg2rg.model.config import WritingConfig


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="phantom")
    parser.add_argument("--seed", type=int, default=9000, help="of the first phantom; the others follow")
    parser.add_argument("--count", type=int, default=300)
    parser.add_argument("--regions-per-prompt", type=int)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--markdown", type=Path)
    args = parser.parse_args()

    reporter = Reporter.load(args.model)
    with tqdm(total=args.count, unit="phantom", disable=None) as bar:
        settings = GenerationSettings(regions_per_prompt=args.regions_per_prompt)
        seeds = range(args.seed, args.seed + args.count)
        counts = measure_grounding(reporter, seeds, lambda *_: bar.update(), settings)
    rates = counts.to_json()
    table = markdown(rates)
    if args.json:
        args.json.write_text(json.dumps(rates, indent=1))
    if args.markdown:
        writing = settings.applied_to(reporter.model.config.writing)
        way = {
            "seeds": f"{seeds[0]} to {seeds[-1]}",
            "sha256": reporter.source.sha256[:12],
            "regions": writing.regions_per_prompt or "all",
            "words": _words(writing),
        }
        args.markdown.write_text(PAGE.format(**way, table=table))
    print(table)


def _words(writing: WritingConfig) -> str:
    if writing.sampling is None:
        return "the likeliest"
    drawn = f"drawn at a temperature of {writing.sampling.temperature:g}"
    return (
        drawn
        if writing.drafts == 1
        else f"{drawn}, of {writing.drafts} drafts the one that agrees most with the others"
    )


PAGE = """# Grounding

Does a sentence hang on its lesion? Naming a region right says that the model knows which region it speaks of, not
that it looked at it. In **phantoms** a lesion can be taken out of the CT while all else stays as it was
(`make_phantom(seed, without=...)`): then what was stated of it should vanish, and what is stated of other regions
should stay.

Phantoms of the seeds {seeds}, never used in training; the shipped model (weights {sha256}...), regions per
prompt: {regions}, words {words}.

Of the findings that were drawn and are stated: how many are no longer stated without their lesion (*vanished*), and in
how many pairs with a lesion of another region, taken out instead, they are *lost*, or *changed*: another side, lobe,
detail, amount or class of size; both together are *disturbed*. Wordings may change. Where only a number is another one
within its class (12 mm, 13 mm) or of percent, they are *renumbered*, which is not counted as disturbed. A lesion may
change another region's voxels, too: an effusion takes room from the lung, a large heart from all around it. With 95 %
intervals (Wilson). Made by `python benchmarks/grounding.py --markdown docs/GROUNDING.md`.

{table}"""


def markdown(rates: dict[str, Any]) -> str:
    """The table: all, then each abnormality."""
    lines = [
        "| abnormality | stated | vanished | pairs | disturbed | lost | changed | renumbered |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name, row in (("all", rates), *rates["per_abnormality"].items()):
        vanished, disturbed = _rate(row["vanished"], row["stated"]), _rate(row["disturbed"], row["pairs"])
        parts = " | ".join("-" if row[key] is None else f"{row[key]:.3f}" for key in ("lost", "changed", "renumbered"))
        lines.append(f"| {name} | {row['stated']} | {vanished} | {row['pairs']} | {disturbed} | {parts} |")
    return "\n".join(lines) + "\n"


def _rate(share: float | None, count: int) -> str:
    if share is None:
        return "-"
    interval = binomtest(round(share * count), count).proportion_ci(method="wilson")
    return f"{share:.3f} ({interval.low:.3f} to {interval.high:.3f})"


if __name__ == "__main__":
    main()
