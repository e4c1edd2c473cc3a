"""Which abnormalities a phantom has: how often each occurs, and which come together.

A Gaussian copula: each abnormality has a standard normal of its own, mixed with a few that it shares with others (age,
heart failure, infection); it is present where the mixture exceeds the quantile of its prevalence. So prevalences are
exact whatever comes together. Every normal has a random stream of its own: none depends on what may occur.
"""

from collections.abc import Callable, Iterable
from statistics import NormalDist

import numpy as np

from reg2rg.phantom.finding import KINDS

# High enough that a few thousand phantoms hold enough of each, and low enough that most regions are normal; the same in
# both splits. Of breast masses, those of men are not drawn.
PREVALENCE: dict[str, float] = {
    "Medical material": 0.18,
    "Arterial wall calcification": 0.26,
    "Cardiomegaly": 0.22,
    "Pericardial effusion": 0.18,
    "Coronary artery wall calcification": 0.26,
    "Hiatal hernia": 0.18,
    "Lymphadenopathy": 0.22,
    "Emphysema": 0.22,
    "Atelectasis": 0.22,
    "Lung nodule": 0.30,
    "Lung opacity": 0.25,
    "Pulmonary fibrotic sequela": 0.22,
    "Pleural effusion": 0.24,
    "Mosaic attenuation pattern": 0.16,
    "Peribronchial thickening": 0.18,
    "Consolidation": 0.22,
    "Bronchiectasis": 0.18,
    "Interlobular septal thickening": 0.18,
    "Vertebral compression": 0.18,
    "Rib fracture": 0.16,
    "Liver lesion": 0.22,
    "Thyroid nodule": 0.18,
    "Breast mass": 0.30,
}

# How strongly each abnormality goes with what it shares with others: the correlation of its normal with theirs.
SHARED: dict[str, dict[str, float]] = {
    "age": {
        "Arterial wall calcification": 0.7,
        "Coronary artery wall calcification": 0.65,
        "Vertebral compression": 0.5,
        "Emphysema": 0.4,
        "Pulmonary fibrotic sequela": 0.4,
        "Hiatal hernia": 0.35,
        "Thyroid nodule": 0.3,
        "Medical material": 0.2,
    },
    "heart failure": {
        "Cardiomegaly": 0.45,
        "Pleural effusion": 0.45,
        "Interlobular septal thickening": 0.5,
        "Pericardial effusion": 0.3,
        "Medical material": 0.3,
    },
    "infection": {
        "Consolidation": 0.6,
        "Lung opacity": 0.55,
        "Peribronchial thickening": 0.45,
        "Pleural effusion": 0.35,
        "Bronchiectasis": 0.3,
        "Lymphadenopathy": 0.3,
        "Atelectasis": 0.3,
    },
}
assert set(PREVALENCE) == set(KINDS)


def sample_age(stream: Callable[[str], np.random.Generator]) -> float:
    """The person's age in standard deviations from the mean: what calcifications and light bones share."""
    return float(stream("shared age").standard_normal())


def sample_present(
    stream: Callable[[str], np.random.Generator], kinds: Iterable[str], prevalence: float | None = None
) -> frozenset[str]:
    """Which of some abnormalities a phantom has.

    Args:
        stream: gives the random generator of a part of the world by its name.
        kinds: names of `KINDS`.
        prevalence: one share for all; None for `PREVALENCE`.

    >>> sample_present(lambda name: np.random.default_rng(0), ["Emphysema"], prevalence=1.0)
    frozenset({'Emphysema'})
    """
    shared = {name: float(stream(f"shared {name}").standard_normal()) for name in SHARED}
    return frozenset(
        name
        for name in kinds
        if _rank(name, shared, float(stream(f"has {name}").standard_normal()))
        < (PREVALENCE[name] if prevalence is None else prevalence)
    )


def _rank(name: str, shared: dict[str, float], own: float) -> float:
    """A number that is uniform from 0 to 1 over all phantoms, low where what is shared is high."""
    loadings = {latent: kinds[name] for latent, kinds in SHARED.items() if name in kinds}
    rest = (1 - sum(loading**2 for loading in loadings.values())) ** 0.5
    mixture = rest * own + sum(loading * shared[latent] for latent, loading in loadings.items())
    return NormalDist().cdf(-mixture)
