"""Solids in millimetres, each with its box and its signed distance: the pencils that draw the phantom.

A distance is negative inside, in mm, and exact or to first order near the surface. Coordinates are RAS+ mm
(x to the patient's right, y to the front, z to the head), given as arrays that broadcast against each other.
"""

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float

Point = tuple[float, float, float]


def point_of(vector: Float[np.ndarray, "3"]) -> Point:
    """A vector as a point."""
    x, y, z = vector.tolist()
    return x, y, z


@runtime_checkable
class Shape(Protocol):
    """What a canvas can draw."""

    def bounds_mm(self) -> tuple[Point, Point]:
        """Lowest and highest corner of a box that holds the solid."""

    def distance_mm(
        self, x: Float[np.ndarray, "#x #y #z"], y: Float[np.ndarray, "#x #y #z"], z: Float[np.ndarray, "#x #y #z"]
    ) -> Float[np.ndarray, "x y z"]:
        """Signed distance to the surface, negative inside."""


@dataclass(frozen=True, eq=False)
class Ellipsoid:
    """An ellipsoid; `rotation` has the directions of its three axes as columns, None for the body's own axes.

    >>> ball = Ellipsoid((0.0, 0.0, 0.0), (10.0, 10.0, 10.0))
    >>> float(ball.distance_mm(*np.float32([[[[15]]], [[[0]]], [[[0]]]]))[0, 0, 0])
    5.0
    """

    center_mm: Point
    radii_mm: Point
    rotation: Float[np.ndarray, "3 3"] | None = None

    def half_extent_mm(self) -> Float[np.ndarray, "3"]:
        """How far the solid reaches from its centre along x, y and z."""
        axes = np.diag(self.radii_mm) if self.rotation is None else self.rotation * np.array(self.radii_mm)
        return np.linalg.norm(axes, axis=1)

    def bounds_mm(self) -> tuple[Point, Point]:
        """See Shape."""
        (x, y, z), (a, b, c) = self.center_mm, self.half_extent_mm().tolist()
        return (x - a, y - b, z - c), (x + a, y + b, z + c)

    def grown(self, margin_mm: float) -> "Ellipsoid":
        """The same ellipsoid with every radius longer by a margin."""
        a, b, c = (radius + margin_mm for radius in self.radii_mm)
        return Ellipsoid(self.center_mm, (a, b, c), self.rotation)

    def distance_mm(
        self, x: Float[np.ndarray, "#x #y #z"], y: Float[np.ndarray, "#x #y #z"], z: Float[np.ndarray, "#x #y #z"]
    ) -> Float[np.ndarray, "x y z"]:
        """Distance to first order: k (k - 1) / |gradient of k^2 / 2| with k = |point / radii|; exact for a sphere."""
        dx, dy, dz = (axis - np.float32(c) for axis, c in zip((x, y, z), self.center_mm, strict=True))
        if self.rotation is not None:
            turn = self.rotation.astype(np.float32)
            dx, dy, dz = (turn[0, i] * dx + turn[1, i] * dy + turn[2, i] * dz for i in range(3))
        squares = [(d / np.float32(r)) ** 2 for d, r in zip((dx, dy, dz), self.radii_mm, strict=True)]
        a, b, c = (square / np.float32(r**2) for square, r in zip(squares, self.radii_mm, strict=True))
        k = np.sqrt(squares[0] + squares[1] + squares[2])
        slope = np.sqrt(a + b + c)
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.where(slope > 0, k * (k - 1) / slope, np.float32(-min(self.radii_mm)))


@dataclass(frozen=True)
class Tube:
    """A straight tube with round ends, whose radius goes evenly from one end to the other.

    >>> tube = Tube((0.0, 0.0, 0.0), (0.0, 0.0, 10.0), 2.0, 2.0)
    >>> float(tube.distance_mm(*np.float32([[[[5]]], [[[0]]], [[[4]]]]))[0, 0, 0])
    3.0
    """

    start_mm: Point
    end_mm: Point
    start_radius_mm: float
    end_radius_mm: float

    def bounds_mm(self) -> tuple[Point, Point]:
        """See Shape."""
        (x0, y0, z0), (x1, y1, z1), r = self.start_mm, self.end_mm, max(self.start_radius_mm, self.end_radius_mm)
        low = (min(x0, x1) - r, min(y0, y1) - r, min(z0, z1) - r)
        return low, (max(x0, x1) + r, max(y0, y1) + r, max(z0, z1) + r)

    def grown(self, margin_mm: float) -> "Tube":
        """The same tube with a radius longer by a margin."""
        return Tube(self.start_mm, self.end_mm, self.start_radius_mm + margin_mm, self.end_radius_mm + margin_mm)

    def distance_mm(
        self, x: Float[np.ndarray, "#x #y #z"], y: Float[np.ndarray, "#x #y #z"], z: Float[np.ndarray, "#x #y #z"]
    ) -> Float[np.ndarray, "x y z"]:
        """Distance to the axis less the radius at the nearest point of the axis."""
        start = np.array(self.start_mm, np.float32)
        along = np.array(self.end_mm, np.float32) - start
        dx, dy, dz = x - start[0], y - start[1], z - start[2]
        length_squared = np.float32(max(float(along @ along), 1e-6))
        share = np.clip((dx * along[0] + dy * along[1] + dz * along[2]) / length_squared, 0, 1)
        to_axis = np.sqrt((dx - share * along[0]) ** 2 + (dy - share * along[1]) ** 2 + (dz - share * along[2]) ** 2)
        widening = np.float32(self.end_radius_mm - self.start_radius_mm)
        return to_axis - np.float32(self.start_radius_mm) - widening * share


@dataclass(frozen=True, eq=False)
class Union:
    """Several solids as one: the nearest surface counts."""

    parts: tuple[Shape, ...]

    def bounds_mm(self) -> tuple[Point, Point]:
        """See Shape."""
        lows, highs = zip(*(part.bounds_mm() for part in self.parts), strict=True)
        (x0, y0, z0), (x1, y1, z1) = np.min(lows, axis=0).tolist(), np.max(highs, axis=0).tolist()
        return (x0, y0, z0), (x1, y1, z1)

    def distance_mm(
        self, x: Float[np.ndarray, "#x #y #z"], y: Float[np.ndarray, "#x #y #z"], z: Float[np.ndarray, "#x #y #z"]
    ) -> Float[np.ndarray, "x y z"]:
        """The least of the parts' distances."""
        first, *others = (part.distance_mm(x, y, z) for part in self.parts)
        for other in others:
            first = np.minimum(first, other)
        return first


def rotation_about(axis: int, degrees: float) -> Float[np.ndarray, "3 3"]:
    """Rotation matrix about x (0), y (1) or z (2), right-handed.

    >>> np.rint(rotation_about(2, 90) @ [1, 0, 0]).tolist()
    [0.0, 1.0, 0.0]
    """
    cosine, sine = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    i, j = [(1, 2), (2, 0), (0, 1)][axis]
    rotation = np.eye(3)
    rotation[i, i] = rotation[j, j] = cosine
    rotation[i, j], rotation[j, i] = -sine, sine
    return rotation
