"""Do sentences hang on their lesions? Takes each lesion out of held-out phantoms and reports them again.

python benchmarks/grounding.py --model phantom --seed 9000 --count 100 [--json FILE]
"""

import argparse
import json
from pathlib import Path

from tqdm import tqdm

from reg2rg.generate import Reporter
from reg2rg.grounding import measure_grounding


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="phantom")
    parser.add_argument("--seed", type=int, default=9000, help="of the first phantom; the others follow")
    parser.add_argument("--count", type=int, default=100)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()

    with tqdm(total=args.count, unit="phantom", disable=None) as bar:
        counts = measure_grounding(
            Reporter.load(args.model), range(args.seed, args.seed + args.count), lambda *_: bar.update()
        )
    rates = counts.to_json()
    if args.json:
        args.json.write_text(json.dumps(rates, indent=1))
    print(f"{'abnormality':36} stated vanished  pairs disturbed")
    for name, row in (("all", rates), *rates["per_abnormality"].items()):
        print(f"{name:36} {row['stated']:6} {row['vanished']!s:>8} {row['pairs']:6} {row['disturbed']!s:>9}")


if __name__ == "__main__":
    main()
