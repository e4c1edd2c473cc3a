"""What a radiologist would write about a phantom, and how to read it back.

`write_report` turns findings into one text per region from a grammar with several wordings for everything, normal or
not; `read_findings` is its inverse: which abnormalities a text asserts, with side, lobe, size and amount where said.
The reader goes by clauses and cue words, so that any text, the word soup of a weak generator included, is read.

Words are lower case apart from the first of a sentence; numbers are plain digits. `vocabulary` lists all of them.
"""

import re
from collections.abc import Iterable, Sequence

import numpy as np

from reg2rg.abnormalities import ABNORMALITIES
from reg2rg.phantom.finding import Finding
from reg2rg.regions import REGION_NAMES

# Wordings of a finding. {side} {lobe} {size} {amount} are filled in; a wording may leave some of them out.
WORDINGS: dict[str, tuple[str, ...]] = {
    "Lung nodule": (
        "There is a {size} mm nodule in the {lobe} of the {side} lung.",
        "A nodule measuring {size} mm is seen in the {side} {lobe}.",
        "A {size} mm pulmonary nodule is present in the {side} {lobe}.",
        "In the {lobe} of the {side} lung, a nodule with a diameter of {size} mm is noted.",
        "The {side} {lobe} contains a nodule of {size} mm.",
        "Nodule of {size} mm in the {side} {lobe}.",
        "A round nodular lesion of {size} mm is observed in the {lobe} of the {side} lung.",
        "{side} {lobe}: nodule, {size} mm in diameter.",
    ),
    "Consolidation": (
        "There is a {amount} consolidation in the {lobe} of the {side} lung.",
        "A {amount} area of consolidation is seen in the {side} {lobe}.",
        "The {side} {lobe} shows a {amount} consolidation with air bronchograms.",
        "In the {side} {lobe}, a {amount} consolidation is noted.",
        "A {amount} consolidated area with open bronchi is present in the {lobe} of the {side} lung.",
        "{amount} consolidation of the {side} {lobe}.",
        "Air bronchograms are seen within a {amount} consolidation of the {side} {lobe}.",
    ),
    "Emphysema": (
        "{amount} centrilobular emphysema is seen in the upper lobes.",
        "There is {amount} emphysema, mainly in the upper lobes.",
        "Emphysematous changes of {amount} extent are present in both lungs.",
        "Both upper lobes show {amount} emphysematous destruction.",
        "{amount} emphysema of both lungs.",
        "Areas of low density due to {amount} emphysema are noted.",
    ),
    "Pleural effusion": (
        "There is a {amount} pleural effusion on the {side}.",
        "A {amount} {side} pleural effusion is seen.",
        "{amount} {side} sided pleural effusion.",
        "A {amount} amount of pleural fluid is present on the {side} side.",
        "In the {side} pleural space, a {amount} effusion is noted.",
        "The {side} pleural cavity contains a {amount} amount of fluid.",
        "A {amount} effusion is observed in the {side} pleural space.",
    ),
    "Cardiomegaly": (
        "The heart is enlarged.",
        "Cardiomegaly is present.",
        "There is cardiomegaly.",
        "The heart size is increased.",
        "The cardiothoracic ratio is increased.",
        "The heart is larger than normal.",
        "The transverse diameter of the heart is increased.",
        "The cardiac silhouette is enlarged.",
        "Enlarged heart.",
        "The cardiothoracic ratio exceeds one half, in keeping with cardiomegaly.",
    ),
    "Pericardial effusion": (
        "There is a pericardial effusion of {size} mm.",
        "A pericardial effusion measuring {size} mm in thickness is seen.",
        "Pericardial fluid up to {size} mm is present.",
        "Fluid with a thickness of {size} mm surrounds the heart in the pericardial space.",
        "The pericardial space contains fluid, {size} mm thick.",
        "Pericardial effusion, up to {size} mm in thickness.",
    ),
    "Hiatal hernia": (
        "There is a hiatal hernia of {size} mm.",
        "A hiatal hernia measuring {size} mm is seen.",
        "Part of the stomach lies above the diaphragm, a hiatal hernia of {size} mm.",
        "A sliding hiatal hernia with a diameter of {size} mm is present.",
        "Hiatal hernia, {size} mm in diameter.",
        "At the hiatus, a hernia of {size} mm with air and fluid is noted.",
    ),
    "Medical material": (
        "A device is implanted in the {side} chest wall, its lead ends in the heart.",
        "There is a pacemaker on the {side}.",
        "A port is seen in the {side} chest wall with its catheter in the vena cava.",
        "A {side} sided device with a lead in the superior vena cava is present.",
        "Catheter in the superior vena cava, connected to a port on the {side}.",
        "Medical material is noted: a {side} sided device and its lead.",
    ),
}

BILATERAL_EFFUSION = (
    "Pleural effusions are seen on both sides, {amount} on the right and {amount2} on the left.",
    "There are bilateral pleural effusions, {amount} on the right and {amount2} on the left.",
    "A {amount} right and a {amount2} left pleural effusion are present.",
    "Bilateral effusions are noted in the pleural spaces, {amount2} on the left and {amount} on the right.",
)

# Denials of what was looked for and not found; said of an abnormality that the study does not have.
DENIALS: dict[str, tuple[str, ...]] = {
    "Lung nodule": (
        "No pulmonary nodule is seen.",
        "No nodular lesion is detected in either lung.",
        "There is no nodule in the lungs.",
        "A nodule or mass is not observed.",
        "The lungs are free of nodules.",
    ),
    "Consolidation": (
        "No consolidation is seen.",
        "There is no consolidation.",
        "Consolidation is not detected in either lung.",
        "The lungs are clear, without consolidation.",
        "No area of consolidation is present.",
    ),
    "Emphysema": (
        "No emphysema is seen.",
        "Emphysematous changes are not observed.",
        "There is no emphysema.",
        "The parenchyma is intact, without emphysema.",
    ),
    "Pleural effusion": (
        "No pleural effusion is seen.",
        "There is no pleural effusion.",
        "Pleural effusion is not detected on either side.",
        "The pleural spaces are free of fluid.",
        "No fluid is present in the pleural cavity.",
        "Neither side shows a pleural effusion.",
    ),
    "Cardiomegaly": (
        "The heart is not enlarged.",
        "There is no cardiomegaly.",
        "The heart size is normal.",
        "The heart size is within normal limits.",
        "The cardiothoracic ratio is not increased.",
        "The transverse diameter of the heart is normal.",
    ),
    "Pericardial effusion": (
        "No pericardial effusion is seen.",
        "There is no pericardial effusion.",
        "Pericardial effusion is not detected.",
        "The pericardial space is free of fluid.",
    ),
    "Hiatal hernia": (
        "No hiatal hernia is seen.",
        "There is no hiatal hernia.",
        "A hiatal hernia is not observed.",
        "The hiatus is of normal width, without hernia.",
    ),
    "Medical material": (
        "No device or catheter is seen.",
        "There is no medical material in the chest.",
        "A catheter is not present.",
    ),
}

# Statements that are true of a region whatever else is found in it.
BACKGROUND: dict[str, tuple[str, ...]] = {
    "abdomen": (
        "The upper abdominal organs are normal.",
        "Liver, spleen and kidneys are normal in density.",
        "The imaged part of the liver is normal.",
        "The spleen is of normal size.",
        "No lesion is seen in the upper abdomen.",
        "The stomach contains air and fluid.",
        "The upper abdominal organs included in the scan are unremarkable.",
        "No free fluid is seen in the upper abdomen.",
    ),
    "bone": (
        "The vertebral bodies are of normal height.",
        "No fracture is seen.",
        "No lytic or sclerotic bone lesion is detected.",
        "The ribs are intact.",
        "The bones are unremarkable.",
        "Sternum and ribs are intact.",
        "Bone structures in the scan are normal.",
    ),
    "breast": (
        "The breasts are symmetric.",
        "No breast mass is seen.",
        "Both breasts are unremarkable.",
        "The breast tissue is normal.",
        "No lesion is detected in the breasts.",
    ),
    "esophagus": (
        "The esophagus is of normal caliber.",
        "The wall of the esophagus is not thickened.",
        "The course of the esophagus is normal.",
        "The upper esophagus is unremarkable.",
    ),
    "heart": (
        "The chambers of the heart are normal in density.",
        "The contour of the heart is smooth.",
        "The fat around the heart is normal.",
    ),
    "lung": (
        "Both lungs are ventilated.",
        "The pulmonary vessels are normal in course.",
        "The fissures are in normal position.",
        "The lungs are examined in the lung window.",
    ),
    "mediastinum": (
        "The aorta is of normal caliber.",
        "The great vessels are normal.",
        "No mass is seen in the mediastinum.",
        "The mediastinal vessels are normal in course.",
        "The pulmonary artery is not dilated.",
    ),
    "pleura": (
        "The pleura is not thickened.",
        "No pleural thickening is seen.",
        "No pneumothorax is detected.",
        "The pleural surfaces are smooth.",
    ),
    "thyroid": (
        "The thyroid gland is normal.",
        "Both thyroid lobes are normal in size.",
        "No lesion is seen in the thyroid gland.",
        "The thyroid is homogeneous.",
        "The thyroid gland is unremarkable.",
    ),
    "trachea and bronchie": (
        "The trachea is in the midline.",
        "The trachea and both main bronchi are open.",
        "The airways are patent.",
        "No obstruction is seen in the trachea or the main bronchi.",
        "The walls of the bronchi are not thickened.",
    ),
}

AMOUNT_WORDS = {
    "small": ("small", "minimal"),
    "moderate": ("moderate", "medium"),
    "large": ("large", "extensive"),
}
_LARGEST_SIZE_MM = 70


def write_report(findings: Sequence[Finding], rng: np.random.Generator) -> dict[str, str]:
    """One text per region: its findings, denials of what it might have had, and what is normal.

    All ten regions get a text, in their published order. Reading them back gives the findings:

    >>> nodule = Finding("Lung nodule", "lung", "left", "upper lobe", size_mm=12)
    >>> texts = write_report([nodule], np.random.default_rng(0))
    >>> read_findings(texts["lung"], "lung") == (nodule,)
    True
    """
    return {region: _write_region(region, findings, rng) for region in REGION_NAMES}


def write_whole_report(texts: dict[str, str]) -> str:
    """The report as one text: the regions' texts in their order."""
    return " ".join(texts[region] for region in REGION_NAMES if region in texts)


def _write_region(region: str, findings: Sequence[Finding], rng: np.random.Generator) -> str:
    own = [finding for finding in findings if finding.region == region]
    sentences = _write_findings(own, rng)
    rng.shuffle(sentences)
    had = {finding.abnormality for finding in own}
    denied = [_pick(DENIALS[name], rng) for name in _denied_in(region) if name not in had and rng.random() < 0.6]
    count = 1 + int(rng.integers(2)) if not denied else int(rng.integers(3))
    normal = [BACKGROUND[region][i] for i in rng.permutation(len(BACKGROUND[region]))[:count]]
    rest = denied + normal
    rng.shuffle(rest)
    if not sentences and not rest:
        rest = [_pick(BACKGROUND[region], rng)]
    text = sentences + rest if rng.random() < 0.8 else rest + sentences
    return " ".join(text)


def _denied_in(region: str) -> list[str]:
    return [a.name for a in ABNORMALITIES if a.region == region and a.name in DENIALS]


def _write_findings(findings: Sequence[Finding], rng: np.random.Generator) -> list[str]:
    effusions = {f.side: f for f in findings if f.abnormality == "Pleural effusion"}
    sentences = []
    if len(effusions) == 2 and rng.random() < 0.6:
        sentences.append(_fill(_pick(BILATERAL_EFFUSION, rng), effusions["right"], rng, effusions["left"]))
        findings = [f for f in findings if f.abnormality != "Pleural effusion"]
    return sentences + [
        _fill(_pick(WORDINGS[f.abnormality], rng), f, rng) for f in findings if f.abnormality in WORDINGS
    ]


def _fill(wording: str, finding: Finding, rng: np.random.Generator, other: Finding | None = None) -> str:
    words = {
        "side": finding.side,
        "lobe": finding.lobe,
        "size": finding.size_mm,
        "amount": _pick(AMOUNT_WORDS[finding.amount], rng) if finding.amount else None,
        "amount2": _pick(AMOUNT_WORDS[other.amount], rng) if other and other.amount else None,
    }
    sentence = wording.format(**words)
    sentence = re.sub(r"\b([Aa]) (?=[aeiou])", r"\1n ", sentence)
    return sentence[0].upper() + sentence[1:]


def _pick(choices: Sequence[str], rng: np.random.Generator) -> str:
    return choices[int(rng.integers(len(choices)))]


def vocabulary() -> tuple[str, ...]:
    """Every word and punctuation mark that a report can hold, sorted; sizes are the numbers 1 to 70.

    Split a text the same way with `re.findall(WORD, text)`.

    >>> "effusion" in vocabulary(), "30" in vocabulary(), len(vocabulary()) < 400
    (True, True, True)
    """
    texts: list[str] = list(BILATERAL_EFFUSION)
    for group in (*WORDINGS.values(), *DENIALS.values(), *BACKGROUND.values(), *AMOUNT_WORDS.values()):
        texts += group
    words = {word for text in texts for word in re.findall(WORD, re.sub(r"\{\w+\}", " ", text))}
    starts = {text.split("}")[0][1:] for text in texts if text.startswith("{")}
    capitals = [word for start in starts for word in _slot_words(start)]
    slot_texts = [text for slot in ("side", "lobe", "size", "amount") for text in _slot_words(slot)]
    words |= {word for text in slot_texts for word in text.split()}
    words |= {"an", "An"} | {word[0].upper() + word[1:] for word in capitals}
    return tuple(sorted(words))


WORD = r"[A-Za-z]+|\d+|[^\sA-Za-z\d]"
"""A word, a number or a punctuation mark."""


def _slot_words(slot: str) -> list[str]:
    return {
        "side": ["left", "right"],
        "lobe": ["upper lobe", "middle lobe", "lower lobe"],
        "size": [str(size) for size in range(1, _LARGEST_SIZE_MM + 1)],
        "amount": [word for words in AMOUNT_WORDS.values() for word in words],
    }[slot]


# How a clause mentions each abnormality. Matched in lower case.
_MENTIONS: dict[str, str] = {
    "Lung nodule": r"\bnodul(e|es|ar)\b",
    "Consolidation": r"\bconsolidat(ion|ions|ed)\b",
    "Emphysema": r"\bemphysema(tous)?\b",
    "Pleural effusion": r"\bpleural (effusions?|fluid)\b"
    r"|\bpleural (spaces?|cavity|cavities)\b.*\b(fluid|effusions?)\b"
    r"|\b(fluid|effusions?)\b.*\bpleural (spaces?|cavity|cavities)\b",
    "Cardiomegaly": r"\bcardiomegaly\b|\benlarged heart\b"
    r"|\b(heart|heart size|cardiac silhouette)\b.*\b(enlarged|increased|larger than normal)\b"
    r"|\bcardiothoracic ratio\b.*\b(increased|exceeds)\b",
    "Pericardial effusion": r"\bpericardial (effusions?|fluid)\b|\bpericardial space\b.*\b(fluid|effusion)\b"
    r"|\bfluid\b.*\bpericardial space\b",
    "Hiatal hernia": r"\bhernia\b",
    "Medical material": r"\b(device|pacemaker|port|catheter|lead|medical material)\b",
}
# A bare "effusion" means the region's own.
_BARE_EFFUSION = r"\beffusions?\b"
_BARE_EFFUSION_IN = {"pleura": "Pleural effusion", "heart": "Pericardial effusion"}
_DENYING = re.compile(r"\b(no|not|without|neither|nor|free of|absent|never)\b")
_SENTENCE_END = re.compile(r"[.;!?\n]+(?!\d)")
_CLAUSE_START = re.compile(r"\bbut\b|\bhowever\b|(?=\bwithout\b)")
_AMOUNT = re.compile(r"\b(" + "|".join(word for words in AMOUNT_WORDS.values() for word in words) + r")\b")
_AMOUNT_OF = {word: amount for amount, words in AMOUNT_WORDS.items() for word in words}
_REGION_OF = {abnormality.name: abnormality.region for abnormality in ABNORMALITIES}
_OTHER_NODULES = re.compile(r"\b(thyroid|breasts?)\b")


def read_findings(text: str, region: str | None = None) -> tuple[Finding, ...]:
    """Which abnormalities a text asserts, in the order of its sentences; never raises, whatever the text.

    Each clause is read by itself: an abnormality counts when the clause mentions it and holds no denying word (no,
    not, without, neither, nor, free of). Side, lobe, size and amount are taken from the clause, None where it says
    nothing. One clause with both sides gives one finding per side. The same statement twice counts once.

    Args:
        text: a report or a part of it.
        region: the region that the text is about, if known; it tells what a bare "effusion" means.

    >>> [(f.side, f.amount) for f in read_findings("No nodule. Bilateral effusions, large on the left.", "pleura")]
    [('left', 'large'), ('right', None)]
    >>> read_findings("A nodule of 8 mm is seen in the left upper lobe, without consolidation.")[0].size_mm
    8
    """
    found: dict[Finding, None] = {}
    for sentence in _SENTENCE_END.split(text.lower()):
        for clause in _CLAUSE_START.split(sentence):
            if not _DENYING.search(clause):
                found.update(dict.fromkeys(_read_clause(clause, region)))
    return tuple(found)


def _read_clause(clause: str, region: str | None) -> Iterable[Finding]:
    for name, mention in _MENTIONS.items():
        is_bare = _BARE_EFFUSION_IN.get(region or "") == name and re.search(_BARE_EFFUSION, clause)
        if not is_bare and not re.search(mention, clause):
            continue
        if name == "Lung nodule" and (region in ("thyroid", "breast") or _OTHER_NODULES.search(clause)):
            continue
        yield from _read_places(name, clause)


def _read_places(name: str, clause: str) -> Iterable[Finding]:
    """The findings of one abnormality in one clause: several where it names both sides."""
    has_side, has_lobe, has_size, has_amount = _STATED[name]
    amounts: list[str | None] = [_AMOUNT_OF[word] for word in _AMOUNT.findall(clause)] if has_amount else []
    sides: list[str | None] = list(dict.fromkeys(re.findall(r"\b(left|right)\b", clause))) if has_side else []
    if len(sides) == 1 and re.search(r"\bbilateral\b", clause):
        sides, amounts = [*sides, "left" if sides == ["right"] else "right"], [*amounts[:1], None]
    if has_side and not sides:
        sides = ["right", "left"] if re.search(r"\b(bilateral|both)\b", clause) else [None]
    lobe = re.search(r"\b(upper|middle|lower) lobe\b", clause) if has_lobe else None
    size = re.search(r"\b(\d{1,4}) ?mm\b", clause) if has_size else None
    for index, side in enumerate(sides or [None]):
        yield Finding(
            name,
            _REGION_OF[name],
            side,
            lobe.group(0) if lobe else None,
            int(size.group(1)) if size else None,
            amounts[min(index, len(amounts) - 1)] if amounts else None,
        )


def _stated(wordings: tuple[str, ...]) -> tuple[bool, bool, bool, bool]:
    slots = "".join(wordings)
    return "{side}" in slots, "{lobe}" in slots, "{size}" in slots, "{amount}" in slots


_STATED = {name: _stated(wordings) for name, wordings in WORDINGS.items()}
"""Which of side, lobe, size and amount are ever said of an abnormality."""
