"""``report.html``: one page without other files; click a sentence to see its region, a region to see its sentences."""

from html import escape

from reg2rg.regions import get_region
from reg2rg.report import DISCLAIMER, RegionReport, Report
from reg2rg.results.picture import ReportPictures, SlicePicture, to_data_url


def report_to_html(report: Report, pictures: ReportPictures) -> str:
    """The page.

    Args:
        report: what to show.
        pictures: of its regions.
    """
    cards = "\n".join(_card(region, pictures.regions[region.name]) for region in report.regions)
    sentences = "\n".join(_paragraph(region) for region in report.regions)
    sentences += "".join(
        f'<div class="region"><h2>{escape(title)} (no region)</h2><p>{escape(text)}</p></div>'
        for title, text in report.other.items()
    )
    warnings = "".join(f"<li>{escape(warning)}</li>" for warning in report.warnings)
    size = " × ".join(str(n) for n in report.size_xyz)
    spacing = " × ".join(f"{mm:.4g}" for mm in report.spacing_mm)
    notice = f"<br>{escape(report.model.notice)}" if report.model.notice else ""
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>Report of {escape(report.study_id)}</title><style>{_STYLE}</style></head><body>
<header><h1>Report of {escape(report.study_id)}</h1>
<p class="notice" role="note"><strong>{escape(DISCLAIMER)}</strong>{notice}</p>
<p class="facts">CT of {size} voxels at {spacing} mm, stored {escape(report.orientation)} ·
model {escape(report.model.name)} · {report.recognition}</p>
{f"<details open><summary>Warnings ({len(report.warnings)})</summary><ul>{warnings}</ul></details>" if warnings else ""}
</header>
<main><section class="text" aria-label="Report">
<p class="hint">Click a sentence to see its region, a region to see its sentences.</p>
{sentences}</section>
<section class="cards" aria-label="Regions">{cards}</section></main>
<footer>Pictures: the slice in which the region is largest, in radiological convention (the patient's right is
on the left; sagittal slices have anterior on the left).
<code>regions.nii.gz</code> holds the masks on the CT's own grid.</footer>
<script>{_SCRIPT}</script></body></html>
"""


def _paragraph(region: RegionReport) -> str:
    color = "rgb({}, {}, {})".format(*get_region(region.name).color_rgb)
    sentences = " ".join(
        f'<button class="sentence{" abnormal" if sentence.abnormalities else ""}" data-region="{region.index}"'
        f' title="{escape(", ".join(sentence.abnormalities or ()))}">{escape(sentence.text)}</button>'
        for sentence in region.sentences
    )
    text = sentences or '<em class="silent">The model wrote nothing about this region.</em>'
    return (
        f'<div class="region" id="text-{region.index}" style="--color: {color}"><h2>{escape(region.name)}'
        f"{_verdict(region)}{_mask_verdict(region)}</h2><p>{text}</p></div>"
    )


def _verdict(region: RegionReport) -> str:
    if region.agrees:
        return '<span class="agrees" title="the model recognized the region">✓ recognized</span>'
    name = region.taken_for
    return f'<span class="differs">taken for: {escape(name)}</span>'


def _mask_verdict(region: RegionReport) -> str:
    if not region.mask_doubts:
        return ""
    return f'<span class="doubtful" title="{escape("; ".join(region.mask_doubts))}">doubtful mask</span>'


def _card(region: RegionReport, pictures: tuple[SlicePicture, ...]) -> str:
    figures = "".join(_figure(region, picture) for picture in pictures)
    color = "rgb({}, {}, {})".format(*get_region(region.name).color_rgb)
    doubts = (
        f'<p class="doubtful">Doubtful mask: {escape("; ".join(region.mask_doubts))}</p>' if region.mask_doubts else ""
    )
    return (
        f'<article class="card" id="card-{region.index}" data-region="{region.index}" tabindex="0"'
        f' style="--color: {color}"><h2>{escape(region.name)}</h2><div class="pictures">{figures}</div>'
        f'<p class="facts">region {region.label} · {region.volume_ml:.0f} ml · mask from '
        f"{escape(region.mask_source)}</p>{doubts}</article>"
    )


def _figure(region: RegionReport, picture: SlicePicture) -> str:
    image, place = picture.image, f"{picture.plane} slice {picture.index}"
    share = f"flex-grow: {image.width / image.height:.3f}"  # of the row's width: all pictures become equally high
    return f'<img src="{to_data_url(image)}" style="{share}" alt="{escape(region.name)}, {place}" title="{place}">'


_STYLE = """
:root { color-scheme: light dark; --back: #fff; --fore: #1c2733; --soft: #f2f5f8; --line: #d5dce4; --warn: #8a4b00; }
@media (prefers-color-scheme: dark) {
  :root { --back: #14191f; --fore: #e4eaf0; --soft: #1d242c; --line: #36414d; --warn: #ffb75e; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 1500px; padding: 1rem 1.5rem; background: var(--back); color: var(--fore);
  font: 16px/1.5 system-ui, sans-serif; }
h1 { font-size: 1.4rem; margin: 0; }
h2 { font-size: 1rem; margin: 0 0 .2rem; }
h2::first-letter { text-transform: uppercase; }
.notice { border-left: 4px solid var(--warn); background: var(--soft); padding: .5rem .8rem; }
.facts, .hint, footer { font-size: .85rem; opacity: .8; }
main { display: grid; grid-template-columns: minmax(20rem, 2fr) minmax(0, 3fr); gap: 1.5rem;
  align-items: start; }
@media (max-width: 900px) { main { grid-template-columns: 1fr; } }
.region { border-left: 4px solid var(--color); padding: .1rem .8rem; margin-bottom: .8rem; }
.region p { margin: 0; }
.region h2 span { font-weight: normal; font-size: .8rem; margin-left: .6rem; }
.agrees { opacity: .7; } .differs { color: var(--warn); font-weight: bold; }
.doubtful { color: var(--warn); }
.sentence { font: inherit; color: inherit; background: none; border: 0; padding: 0; text-align: left; cursor: pointer; }
.sentence:hover, .chosen .sentence { background: var(--soft); text-decoration: underline; }
.abnormal { font-weight: 600; }
.cards { display: grid; grid-template-columns: minmax(0, 1fr); gap: .8rem; max-height: 92vh; overflow: auto;
  position: sticky; top: 1rem; }
@media (max-width: 900px) { .cards { max-height: none; position: static; } }
.card { border: 1px solid var(--line); border-left: 4px solid var(--color); border-radius: 6px; padding: .5rem .8rem;
  cursor: pointer; }
.card.chosen, .region.chosen { outline: 3px solid var(--color); }
.pictures { display: flex; gap: 4px; background: #000; border-radius: 4px; padding: 4px; align-items: flex-start; }
.pictures img { flex-basis: 0; min-width: 0; height: auto; }
footer { margin-top: 1.5rem; }
"""

_SCRIPT = """
function choose(region, from) {
  document.querySelectorAll('.chosen').forEach(node => node.classList.remove('chosen'));
  for (const part of ['text', 'card']) {
    const node = document.getElementById(part + '-' + region);
    node.classList.add('chosen');
    if (part !== from) node.scrollIntoView({behavior: 'smooth', block: 'nearest'});
  }
}
document.querySelectorAll('.sentence').forEach(node =>
  node.addEventListener('click', () => choose(node.dataset.region, 'text')));
document.querySelectorAll('.card').forEach(node => {
  node.addEventListener('click', () => choose(node.dataset.region, 'card'));
  node.addEventListener('keydown', event => { if (event.key === 'Enter') choose(node.dataset.region, 'card'); });
});
"""
