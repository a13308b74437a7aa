"""Where a plot or a photo is, as GeoJSON (RFC 7946): what programs write, and what encloses land.

Lines are compared on a grid of 10^-12 degrees, a tenth of a micrometre: whole numbers, so that
what crosses is told exactly.
"""

import math
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Annotated, Any

from msgspec import UNSET, Meta, Struct, UnsetType, structs

from service.platform.errors import FieldError
from service.rules.told import Told

POSITIONS_MAX = 1_000
_HEIGHT_MAX_M = 10_000
_GRID = 10**12

Coordinates = Annotated[list[float], Meta(min_length=2, max_length=3)]
Ring = Annotated[list[Coordinates], Meta(min_length=4, max_length=POSITIONS_MAX)]
Rings = Annotated[list[Ring], Meta(min_length=1, max_length=100)]
Properties = Annotated[dict[str, Any], Meta(max_length=1_000)]
FeatureId = Annotated[str, Meta(max_length=256)] | Annotated[int, Meta(ge=-(2**53), le=2**53)]
Box = Annotated[list[float], Meta(min_length=4, max_length=6)]

_Spot = tuple[int, int]
_Line = tuple[_Spot, _Spot]


class _Geometry(Struct, frozen=True, forbid_unknown_fields=True, tag_field="type"):
    """What has a place. A `bbox` says nothing that it does not say itself, and is not kept."""

    bbox: Box | UnsetType = UNSET


class Point(_Geometry, frozen=True, tag="Point", kw_only=True):
    """A GeoJSON Point: longitude and latitude in degrees, perhaps height in metres."""

    coordinates: Coordinates


class Polygon(_Geometry, frozen=True, tag="Polygon", kw_only=True):
    """A GeoJSON Polygon: rings that end where they began, the outer one first."""

    coordinates: Rings


class MultiPolygon(_Geometry, frozen=True, tag="MultiPolygon", kw_only=True):
    """A GeoJSON MultiPolygon: land in several pieces."""

    coordinates: Annotated[list[Rings], Meta(min_length=1, max_length=100)]


Geometry = Point | Polygon | MultiPolygon


class Feature(_Geometry, frozen=True, tag="Feature", kw_only=True):
    """A GeoJSON Feature, as maps export it: its geometry is kept, its properties are not."""

    geometry: Geometry
    properties: Properties | None = None
    id: FeatureId | UnsetType = UNSET


Position = Point | Polygon | MultiPolygon | Feature


def geometry_of(position: Position) -> Geometry:
    """What is kept of a position."""
    found = position.geometry if isinstance(position, Feature) else position
    return structs.replace(found, bbox=UNSET)


def position_faults(position: Position, at: str) -> Iterator[FieldError]:
    """What RFC 7946 asks of a position beyond its shape, and land beyond that."""
    if isinstance(position, Feature):
        position, at = position.geometry, f"{at}/geometry"
    at = f"{at}/coordinates"
    if isinstance(position, Point):
        yield from _coordinate_faults(position.coordinates, at)
        return
    several = isinstance(position, MultiPolygon)
    polygons = (
        position.coordinates if isinstance(position, MultiPolygon) else [position.coordinates]
    )
    rings = {
        f"{at}/{part}/{number}" if several else f"{at}/{number}": ring
        for part, polygon in enumerate(polygons)
        for number, ring in enumerate(polygon)
    }
    if sum(map(len, rings.values())) > POSITIONS_MAX:
        yield FieldError(at, Told("must hold at most {most} positions", most=POSITIONS_MAX))
        return
    faults = [fault for where, ring in rings.items() for fault in _ring_faults(ring, where)]
    yield from faults or _land_faults(rings)


def _ring_faults(ring: Sequence[list[float]], at: str) -> Iterator[FieldError]:
    for index, coordinates in enumerate(ring):
        yield from _coordinate_faults(coordinates, f"{at}/{index}")
    if ring[0] != ring[-1]:
        yield FieldError(at, "must end where it began")


def _coordinate_faults(coordinates: list[float], at: str) -> Iterator[FieldError]:
    limits = ((180, "longitude"), (90, "latitude"), (_HEIGHT_MAX_M, "height"))
    for index, (value, (limit, what)) in enumerate(zip(coordinates, limits, strict=False)):
        if not math.isfinite(value) or abs(value) > limit:
            detail = Told("must be a {what} from -{limit} to {limit}", what=what, limit=limit)
            yield FieldError(f"{at}/{index}", detail)


def _land_faults(rings: dict[str, Ring]) -> Iterator[FieldError]:
    """Rings that enclose nothing, and lines that meet where a border cannot."""
    lines: list[tuple[int, int, str, int, _Line]] = []
    counts: dict[str, int] = {}
    for where, ring in rings.items():
        spots = [(round(spot[0] * _GRID), round(spot[1] * _GRID)) for spot in ring]
        borders = [line for line in pairwise(spots) if line[0] != line[1]]
        if all(_side(borders[0], spot) == 0 for spot in spots if borders):
            yield FieldError(where, "encloses no area")
            return
        counts[where] = len(borders)
        for index, line in enumerate(borders):
            west, east = sorted((line[0][0], line[1][0]))
            lines.append((west, east, where, index, line))
    lines.sort(key=lambda each: each[0])
    for at, (_, east, where, index, line) in enumerate(lines):
        for west, _, other, number, second in lines[at + 1 :]:
            if west > east:
                break
            steps = abs(index - number)
            is_next = where == other and steps in {1, counts[where] - 1}
            if where == other and _meet(line, second, is_next=is_next):
                yield FieldError(
                    where, Told("crosses or touches itself on the line {line}", line=_told(second))
                )
                return
            if where != other and _cross(line, second):
                later = max(where, other, key=list(rings).index)
                yield FieldError(
                    later, Told("crosses another ring on the line {line}", line=_told(second))
                )
                return


def _side(line: _Line, spot: _Spot) -> int:
    """On which side of a line a spot lies: 1, -1, or 0 on the line."""
    (ax, ay), (bx, by) = line
    area = (bx - ax) * (spot[1] - ay) - (by - ay) * (spot[0] - ax)
    return (area > 0) - (area < 0)


def _cross(one: _Line, two: _Line) -> bool:
    return (
        _side(one, two[0]) * _side(one, two[1]) < 0 and _side(two, one[0]) * _side(two, one[1]) < 0
    )


def _meet(one: _Line, two: _Line, *, is_next: bool) -> bool:
    """Whether two lines of a ring share a spot; neighbours more than the one that joins them."""
    if _side(one, two[0]) * _side(one, two[1]) > 0:
        return False  # most lines lie on one side of the others
    ends = [(one, spot) for spot in two] + [(two, spot) for spot in one]
    touching = {spot for line, spot in ends if _side(line, spot) == 0 and _is_within(line, spot)}
    return len(touching) > 1 if is_next else bool(touching) or _cross(one, two)


def _is_within(line: _Line, spot: _Spot) -> bool:
    return all(min(a, b) <= each <= max(a, b) for a, b, each in zip(*line, spot, strict=True))


def _told(line: _Line) -> str:
    return " to ".join(f"[{x / _GRID:.9g}, {y / _GRID:.9g}]" for x, y in line)
