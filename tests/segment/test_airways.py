"""Airways drawn in mm: a trachea that divides, and bronchi that end in lung."""

import numpy as np

from reg2rg.segment.airways import carina_slice, find_airways, find_lumen

SPACING_MM = (2.0, 2.0, 2.0)
X, Y, Z = np.meshgrid(np.arange(-40, 40, 2.0), np.arange(-40, 40, 2.0), np.arange(0, 120, 2.0), indexing="ij")
AIR, LUNG, TISSUE = -1000.0, -870.0, 40.0
CARINA_MM = 60.0

TRACHEA = (np.hypot(X, Y) <= 8) & (Z >= CARINA_MM)
BRONCHI = (np.hypot(np.abs(X) - (10 + 0.4 * (CARINA_MM - Z)), Y) <= 6) & (Z < CARINA_MM) & (Z >= 20)
LUNGS = (np.abs(X) >= 12) & (Z < 24) & ~BRONCHI


def chest(trachea: np.ndarray = TRACHEA, bronchi: np.ndarray = BRONCHI) -> np.ndarray:
    hu = np.full(X.shape, TISSUE, np.float32)
    hu[LUNGS] = LUNG
    hu[trachea | bronchi] = AIR
    return hu


def lumen_of(hu: np.ndarray) -> np.ndarray:
    return find_lumen(hu, hu < -400, SPACING_MM)


def test_the_lumen_is_followed_to_the_lungs_and_not_into_them() -> None:
    np.testing.assert_array_equal(lumen_of(chest()), TRACHEA | BRONCHI)


def test_a_flat_branch_is_grown_into_though_it_is_no_round_spot() -> None:
    branch = (np.abs(X) <= 30) & (np.hypot(Y, Z - 90) <= 4) & ~TRACHEA  # 60 mm across, 8 mm high
    hu = chest()
    hu[branch] = -890  # small lumens are not as dark
    np.testing.assert_array_equal(lumen_of(hu), TRACHEA | BRONCHI | branch)


def test_the_tallest_column_is_the_trachea() -> None:
    bubble = (np.hypot(X - 28, Y - 28) <= 6) & (Z >= 70)
    hu = chest()
    hu[bubble] = AIR
    assert not (lumen_of(hu) & bubble).any()


def test_a_column_shorter_than_a_trachea_is_none() -> None:
    nothing = np.zeros_like(TRACHEA)
    short = TRACHEA & (Z < CARINA_MM + 18)
    assert not lumen_of(chest(short, nothing)).any()
    assert lumen_of(chest(TRACHEA & (Z < CARINA_MM + 20), nothing)).any()


def test_a_slit_and_a_wide_hollow_are_no_trachea() -> None:
    nothing = np.zeros_like(TRACHEA)
    assert not lumen_of(chest((np.abs(X) <= 20) & (np.abs(Y) <= 6) & (Z >= 60), nothing)).any()  # 40 mm by 12 mm
    assert not lumen_of(chest((np.hypot(X, Y) <= 18) & (Z >= 60), nothing)).any()  # 1018 mm2
    assert not lumen_of(chest((np.hypot(X, Y) <= 3) & (Z >= 60), nothing)).any()  # 28 mm2


def test_a_dark_spot_in_the_lung_is_no_trachea() -> None:
    hu = np.full(X.shape, -820.0, np.float32)
    hu[np.hypot(X, Y) <= 8] = -900
    assert not lumen_of(hu).any()


def test_the_carina_is_where_the_lumen_first_is_in_two() -> None:
    assert carina_slice(TRACHEA | BRONCHI) == round(CARINA_MM / 2) - 1
    assert carina_slice(TRACHEA) is None
    spur = (np.hypot(X - 16, Y) <= 2) & (Z >= 80) & (Z < 90)
    assert carina_slice(TRACHEA | BRONCHI | spur) == round(CARINA_MM / 2) - 1
    assert carina_slice(np.zeros_like(TRACHEA)) is None


def test_bronchi_in_the_lung_are_found_by_their_walls_if_they_hang_together_with_the_trachea() -> None:
    def tube(x_mm: float, y_mm: float, radius_mm: float, top_mm: float) -> np.ndarray:
        return (np.hypot(X - x_mm, Y - y_mm) <= radius_mm) & (top_mm > Z)

    hu = np.full(X.shape, LUNG, np.float32)
    lungs = Z < 60
    hu[~lungs] = TISSUE
    lumen = (np.hypot(X, Y) <= 6) & (Z >= 40)
    joined, apart = tube(0, 0, 4, 38), tube(24, 0, 4, 38)  # the first ends 2 mm below the lumen
    for outside in (tube(0, 0, 8, 40), tube(24, 0, 8, 40)):
        hu[outside] = -100
    hu[joined | apart | lumen] = AIR

    airways = find_airways(hu, lumen, lungs & ~lumen, SPACING_MM)
    assert airways[lumen].all() and airways[joined].all()
    wall = tube(0, 0, 5.5, 38) & ~joined
    assert wall.any() and airways[wall].all()
    assert not airways[np.hypot(X, Y) > 12].any()


def test_no_lumen_no_airways() -> None:
    nothing = np.zeros_like(TRACHEA)
    assert not find_airways(chest(), nothing, LUNGS, SPACING_MM).any()
    alone = find_airways(chest(), TRACHEA, nothing, SPACING_MM)  # no lung to search for bronchi in
    assert alone[TRACHEA].all() and not alone[np.hypot(X, Y) > 12].any()
