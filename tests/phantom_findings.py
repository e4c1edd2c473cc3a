"""Findings as the drawers state them, without drawing."""

from typing import Any

import numpy as np

from reg2rg.phantom.finding import AMOUNTS, KINDS, LOBES, SIDES, Finding

_OFTEN_SEVERAL = {"Lung nodule": 3, "Pleural effusion": 2, "Rib fracture": 2, "Thyroid nodule": 2, "Atelectasis": 2}


def random_findings(rng: np.random.Generator, prevalence: float = 0.22) -> list[Finding]:
    """Some of each kind with this chance, all attributes at random; no two are equal."""
    findings: dict[Finding, None] = {}
    for name in KINDS:
        if rng.random() < prevalence:
            for _ in range(rng.integers(1, _OFTEN_SEVERAL.get(name, 1) + 1)):
                findings[random_finding(name, rng)] = None
    return list(findings)


def random_finding(name: str, rng: np.random.Generator) -> Finding:
    kind = KINDS[name]
    values: dict[str, Any] = {
        "side": SIDES[rng.integers(2)],
        "lobe": LOBES[rng.integers(3)],
        "size_mm": int(rng.integers(3, 61)),
        "amount": AMOUNTS[rng.integers(3)],
        "percent": int(rng.integers(20, 76)),
        "detail": kind.details[rng.integers(len(kind.details))] if kind.details else None,
    }
    return Finding(name, kind.region, **{attribute: values[attribute] for attribute in kind.states})
