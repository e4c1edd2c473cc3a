"""Anatomy: one sampled person and how far the scan reaches, in millimetres.

Frame: RAS+ mm. x = 0 is the midline (x grows to the patient's right), y = 0 the middle of the thoracic cavity from
front to back (y grows to the front), z = 0 the carina (z grows to the head). Lengths grow with the thorax, so that
bodies of different size have the same proportions, apart from what is sampled.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from reg2rg.phantom.shapes import Ellipsoid, Union, point_of, rotation_about

# Cardiothoracic ratio: transverse width of the heart over the widest inner width of the thorax; above 0.5 is
# cardiomegaly (Danzer 1919). A gap is left around 0.5, so that the truth is beyond dispute.
NORMAL_RATIO = (0.38, 0.48)
ENLARGED_RATIO = (0.53, 0.61)

CONTRAST_SHARE = 0.25
ARMS_DOWN_SHARE = 0.08


@dataclass(frozen=True)
class HeartShape:
    """The shape of a heart whatever its size; drawn independently of the cardiothoracic ratio.

    Attributes:
        depth, height: thickness of the ventricles across their long axis, as shares of half its length.
        base: radius of the atria, as a share of half the long axis.
        dip_degrees: how far the apex points down.
        turn_degrees: how far the apex points to the front.
    """

    depth: float
    height: float
    base: float
    dip_degrees: float
    turn_degrees: float


@dataclass(frozen=True)
class Anatomy:
    """One person and one scan range.

    Attributes:
        sex: ``female`` or ``male``.
        age_years: makes bones lighter, cartilage harder and the back rounder.
        thorax_width_mm, thorax_depth_mm: widest inner size of the thorax, side to side and front to back.
        apex_mm: z of the lungs' tops.
        dome_right_mm, dome_left_mm: z of the tops of the diaphragm.
        wall_mm: muscles and ribs.
        fat_mm: fat under the skin.
        mediastinum_mm: half the width of the mediastinum at the carina.
        heart_fat_share: fat around the heart over the heart's width, so that the heart's edge does not tell its size.
        cardiothoracic_ratio: width of the heart over `thorax_width_mm`.
        heart: shape of the heart.
        bone_hu: trabecular bone; falls with age.
        cartilage_calcium_hu: what calcium adds to the costal cartilage at most; grows with age.
        kyphosis_mm: how far the spine bulges to the back, 40 mm below the carina.
        contrast_hu: what a contrast medium adds to the blood; 0 without.
        has_arms_down: whether the arms lie beside the chest, cut by the field of view, instead of above the head.
        scan_top_mm, scan_bottom_mm: z of the first and the last slice.
        margin_mm: air left around the body in the field of view.
    """

    sex: str
    age_years: float
    thorax_width_mm: float
    thorax_depth_mm: float
    apex_mm: float
    dome_right_mm: float
    dome_left_mm: float
    wall_mm: float
    fat_mm: float
    mediastinum_mm: float
    heart_fat_share: float
    cardiothoracic_ratio: float
    heart: HeartShape
    bone_hu: float
    cartilage_calcium_hu: float
    kyphosis_mm: float
    contrast_hu: float
    has_arms_down: bool
    scan_top_mm: float
    scan_bottom_mm: float
    margin_mm: float

    @property
    def scale(self) -> float:
        """Size against a thorax of 280 mm: fixed lengths of the drawings are multiplied by it."""
        return self.thorax_width_mm / 280

    @property
    def heart_width_mm(self) -> float:
        """Transverse width of the heart."""
        return self.cardiothoracic_ratio * self.thorax_width_mm

    @property
    def heart_fat_mm(self) -> float:
        """Fat around the heart where it borders on lung."""
        return self.heart_fat_share * self.heart_width_mm

    @property
    def half_width_mm(self) -> float:
        """Half the width of the body with wall and fat, shoulders and breasts apart."""
        return self.thorax_width_mm / 2 + self.wall_mm + self.fat_mm

    @property
    def front_mm(self) -> float:
        """y of the skin in front."""
        return self.thorax_depth_mm / 2 + 0.8 * self.wall_mm + self.fat_mm

    @property
    def back_mm(self) -> float:
        """y of the skin where the back is roundest; the back's muscles are thicker."""
        return -self.thorax_depth_mm / 2 - 2.0 * self.wall_mm - self.fat_mm - self.kyphosis_mm

    def bulge_mm(self, z: Float[np.ndarray, "..."]) -> Float[np.ndarray, "..."]:
        """How far spine and back bulge at some heights."""
        return np.float32(self.kyphosis_mm) * np.exp(-(((z + 40 * self.scale) / (85 * self.scale)) ** 2))

    def spine_mm(self, z: Float[np.ndarray, "..."]) -> Float[np.ndarray, "..."]:
        """y of the middle of the vertebral bodies at some heights."""
        return np.float32(-0.74 * self.thorax_depth_mm / 2) - self.bulge_mm(z)

    @property
    def breast_mm(self) -> float:
        """How far a breast stands out from the wall; a thin layer in men."""
        return (18 + 0.9 * self.fat_mm) * self.scale if self.sex == "female" else 5 * self.scale

    def heart_union(self) -> Union:
        """The heart as a solid: the ventricles, tilted, and the atria behind and to the right of them.

        Exactly `heart_width_mm` wide, in front of the spine, on the diaphragm, two thirds on the left. Nothing is cut
        off it, so that a heart twice as large is the same picture at half the scale.
        """
        shape = self.heart
        turn = rotation_about(2, -shape.turn_degrees) @ rotation_about(1, -shape.dip_degrees)
        apex_direction = turn @ np.array([-1.0, 0.0, 0.0])
        ventricles = Ellipsoid((0.0, 0.0, 0.0), (1.0, shape.depth, shape.height), turn)
        atria = Ellipsoid(point_of(-0.62 * apex_direction), (shape.base, 1.05 * shape.base, 1.1 * shape.base))
        low, high = Union((ventricles, atria)).bounds_mm()
        unit = self.heart_width_mm / (high[0] - low[0])
        center = np.array(
            [
                -0.17 * self.heart_width_mm - unit * (low[0] + high[0]) / 2,
                self.thorax_depth_mm / 2 - 0.05 * self.heart_width_mm - unit * high[1],
                (self.dome_right_mm + self.dome_left_mm) / 2 - 0.1 * self.heart_width_mm - unit * low[2],
            ]
        )
        return Union(
            tuple(
                Ellipsoid(
                    point_of(center + unit * np.array(part.center_mm)),
                    point_of(unit * np.array(part.radii_mm)),
                    part.rotation,
                )
                for part in (ventricles, atria)
            )
        )


def sample_anatomy(rng: np.random.Generator, enlarged_heart: bool, age: float = 0.0) -> Anatomy:
    """Draws a person. The same generator gives the same person with and without an enlarged heart, heart size apart.

    Args:
        rng: source of everything else.
        enlarged_heart: whether the cardiothoracic ratio is above a half.
        age: in standard deviations from the mean of 58 years.

    >>> rng = np.random.default_rng(1)
    >>> sample_anatomy(rng, enlarged_heart=True).cardiothoracic_ratio > 0.5
    True
    """
    uniform = rng.uniform
    sex = "female" if uniform() < 0.5 else "male"
    width = uniform(230, 285) if sex == "female" else uniform(250, 320)
    scale = width / 280
    ratio_low, ratio_high = ENLARGED_RATIO if enlarged_heart else NORMAL_RATIO
    ratio = ratio_low + uniform() * (ratio_high - ratio_low)
    apex = scale * uniform(95, 120)
    dome_right = -scale * uniform(72, 108)
    age_years = float(np.clip(58 + 15 * age, 20, 95))
    old = np.clip((age_years - 40) / 45, 0, 1)
    return Anatomy(
        sex=sex,
        age_years=age_years,
        thorax_width_mm=width,
        thorax_depth_mm=width * uniform(0.64, 0.76),
        apex_mm=apex,
        dome_right_mm=dome_right,
        dome_left_mm=dome_right - scale * uniform(4, 24),
        wall_mm=scale * uniform(12, 19),
        fat_mm=uniform(4, 36),
        mediastinum_mm=scale * uniform(26, 34),
        heart_fat_share=uniform(0.045, 0.1),
        cardiothoracic_ratio=ratio,
        heart=HeartShape(
            depth=uniform(0.62, 0.74),
            height=uniform(0.62, 0.76),
            base=uniform(0.5, 0.6),
            dip_degrees=uniform(14, 46),
            turn_degrees=uniform(16, 48),
        ),
        # Trabecular bone falls from about 220 HU at 30 years to about 110 at 80 (Jang et al., Radiology 2019).
        bone_hu=float(np.clip(uniform(-35, 35) + 220 - 2.2 * (age_years - 30), 80, 250)),
        cartilage_calcium_hu=float(old * uniform(0, 350)),
        kyphosis_mm=float(scale * (2 + 8 * old) * uniform()),
        contrast_hu=uniform(110, 205) if uniform() < CONTRAST_SHARE else 0.0,
        has_arms_down=bool(uniform() < ARMS_DOWN_SHARE),
        scan_top_mm=apex + scale * (uniform(-8, 2) if uniform() < 0.06 else uniform(28, 50)),
        scan_bottom_mm=dome_right - scale * uniform(85, 125),
        margin_mm=uniform(3, 20),
    )
