"""What can be wrong with the bones: a collapsed vertebra, broken ribs."""

import numpy as np

from reg2rg.phantom.abnormalities.painting import paint
from reg2rg.phantom.finding import KINDS, SIDES, Finding
from reg2rg.phantom.organs import MUSCLE, Chest, rib_mm, vertebra_mm, vertebral_body_distance
from reg2rg.phantom.shapes import Ellipsoid, point_of

# Trabeculae pressed together and the healing end plate: between trabecular and cortical bone (Bushberg 2012, ch. 10).
_END_PLATE_HU = 650.0
_IMPACTION_HU = 150.0
# Where bone was: the disc's edge and fat, which come after the front edge.
_LOST_FRONT_HU, _LOST_BACK_HU = -80.0, 20.0
_LOSS_PERCENT = (35, 60)  # grade 2 begins at 25, grade 3 at 40 (Genant et al., J Bone Miner Res 1993)
CALLUS_HU = 480.0  # woven bone
_END_PLATE_MM = 4.5
# Between which shares of half the chest's depth a broken rib is called broken at the side.
_LATERAL = (-0.18, 0.08)
_PARTS = 3  # per axis of a voxel


def draw_vertebral_compression(chest: Chest, rng: np.random.Generator, first_lesion: int) -> tuple[Finding, ...]:
    """A wedge: the upper end plate sinks, by the stated share of the height in front and a third of that at the back.

    Soft tissue takes the room, the spine keeps its length. Under the sunken end plate the bone is dense.
    """
    canvas, anatomy = chest.canvas, chest.anatomy
    k = anatomy.scale
    levels = {name: vertebra_mm(anatomy, int(name[1:])) for name in KINDS["Vertebral compression"].details}
    inside = [
        n for n, (low, high) in levels.items() if anatomy.scan_bottom_mm < low - 4 and high + 4 < anatomy.scan_top_mm
    ]
    # Most lie between T7 and the lumbar spine (Wasnich, Bone 1996).
    weights = np.array([2.0 if int(name[1:]) >= 7 else 1.0 for name in inside])
    percent = int(rng.integers(_LOSS_PERCENT[0], _LOSS_PERCENT[1] + 1))
    if not inside:
        return ()
    name = str(rng.choice(inside, p=weights / weights.sum()))
    low, high = levels[name]
    middle = (low + high) / 2
    spine = anatomy.spine_mm(np.array([middle])).item()
    box = canvas.box_of(Ellipsoid((0.0, spine, middle), (22 * k, 22 * k, (high - low) / 2)), 3.0)
    if box is None:
        return ()
    x, y, z = canvas.axes_mm(box, _PARTS)
    from_front = np.clip((y - anatomy.spine_mm(z)) / (0.85 * 17 * k), -1, 1)
    loss = (high - low) * percent / 100 * (0.67 + 0.33 * from_front)
    top = high - loss
    front = vertebral_body_distance(anatomy, x, y, z) - 2.5 * k * np.clip(from_front, 0, 1)  # the front edge bulges
    in_canal = x**2 + (y - anatomy.spine_mm(z) + 23 * k) ** 2 < (9 * k + 1) ** 2
    is_vertebra = (z > low) & (z < high) & (front < 0) & ~in_canal
    edge = (front > -2.5 * k) * np.float32(260.0)
    bone = np.maximum(anatomy.bone_hu + _IMPACTION_HU, edge)
    lost = _LOST_BACK_HU + (_LOST_FRONT_HU - _LOST_BACK_HU) * (0.5 + 0.5 * from_front)
    hu = np.where(z > top, lost, np.where(z > top - _END_PLATE_MM * k, _END_PLATE_HU, bone))
    shape = (*(n for size in box.size_xyz for n in (size, _PARTS)),)
    coverage = is_vertebra.reshape(shape).mean(axis=(1, 3, 5), dtype=np.float32)
    total = (is_vertebra * hu).reshape(shape).mean(axis=(1, 3, 5), dtype=np.float32)
    paint(canvas, coverage, total / np.maximum(coverage, np.float32(1e-3)), first_lesion, box, "bone")
    return (Finding("Vertebral compression", "bone", percent=percent, detail=name, lesion=first_lesion),)


def draw_rib_fracture(chest: Chest, rng: np.random.Generator, first_lesion: int) -> tuple[Finding, ...]:
    """One to three neighbouring ribs of a side, broken: a lucent gap, the front end shifted out, callus around both."""
    canvas, anatomy = chest.canvas, chest.anatomy
    k = anatomy.scale
    side = SIDES[rng.integers(2)]
    sign = 1.0 if side == "right" else -1.0
    first, number = int(rng.integers(3, 6)), int(rng.integers(1, 4))
    part = rng.uniform(-0.45, 0.35)
    y = part * anatomy.thorax_depth_mm / 2
    detail = "posterior" if part < _LATERAL[0] else "lateral" if part < _LATERAL[1] else "anterior"
    drawn = False
    for rib in range(first, first + number):
        place = y + rng.uniform(-6, 6)
        center, after, before = (np.array(rib_mm(anatomy, sign, rib, place + d)) for d in (0.0, 4.0, -4.0))
        along = (after - before) / np.linalg.norm(after - before)
        out = np.cross(along, np.cross((sign, 0.0, 0.0), along))
        out /= np.linalg.norm(out)
        callus = Ellipsoid(point_of(center + 2.0 * k * out), (8 * k, 12 * k, 10 * k), None)
        box = canvas.box_of(callus, 6.0)
        if box is None:
            continue
        parts = canvas.axes_mm(box, _PARTS)
        offsets = [axis - np.float32(c) for axis, c in zip(parts, center, strict=True)]
        t = sum(o * np.float32(a) for o, a in zip(offsets, along, strict=True))
        n = sum(o * np.float32(a) for o, a in zip(offsets, out, strict=True))
        square = sum(o**2 for o in offsets)
        b_square = np.maximum(square - t**2 - n**2, 0)
        step = np.where(t > 0, np.float32(4.0 * k), np.float32(0.0))
        # A spindle around the rib's ends, of which the front one is shifted out.
        spindle = np.sqrt(b_square + ((n - 1.5 * k - 0.5 * step) / 1.05) ** 2 + (t / 1.6) ** 2) - 7.5 * k
        gap = np.abs(t - 0.35 * n) < 1.9 * k
        inside = spindle < 0
        hu = np.where(gap, MUSCLE - 30, CALLUS_HU)
        shape = (*(m for size in box.size_xyz for m in (size, _PARTS)),)
        coverage = inside.reshape(shape).mean(axis=(1, 3, 5), dtype=np.float32)
        total = (inside * hu).reshape(shape).mean(axis=(1, 3, 5), dtype=np.float32)
        coverage *= canvas.hu[box.slices] > -400  # the lung behind the rib stays
        drawn |= paint(canvas, coverage, total / np.maximum(coverage, np.float32(1e-3)), first_lesion, box, "bone")
    return (Finding("Rib fracture", "bone", side, detail=detail, lesion=first_lesion),) if drawn else ()
