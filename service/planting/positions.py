"""Where a plot or a photo is, as GeoJSON (RFC 7946): what programs write, and what encloses land.

Lines are compared on a grid of 10^-12 degrees, a tenth of a micrometre: even whole numbers, so that
what crosses is told exactly, and the middle of a line is a whole number, too.
"""

from collections.abc import Iterator, Sequence
from itertools import combinations, groupby, islice, pairwise
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
    pieces = {at: position.coordinates} if isinstance(position, Polygon) else {}
    if isinstance(position, MultiPolygon):
        pieces = {f"{at}/{part}": piece for part, piece in enumerate(position.coordinates)}
    rings = {f"{part}/{n}": ring for part, piece in pieces.items() for n, ring in enumerate(piece)}
    if sum(map(len, rings.values())) > POSITIONS_MAX:
        yield FieldError(at, Told("must hold at most {most} positions", most=POSITIONS_MAX))
        return
    faults = [fault for where, ring in rings.items() for fault in _ring_faults(ring, where)]
    yield from faults or islice(_land_faults(rings), 1)


def _ring_faults(ring: Sequence[list[float]], at: str) -> Iterator[FieldError]:
    for index, coordinates in enumerate(ring):
        yield from _coordinate_faults(coordinates, f"{at}/{index}")
    if ring[0] != ring[-1]:
        yield FieldError(at, "must end where it began")


def _coordinate_faults(coordinates: list[float], at: str) -> Iterator[FieldError]:
    limits = ((180, "longitude"), (90, "latitude"), (_HEIGHT_MAX_M, "height"))
    for index, (value, (limit, what)) in enumerate(zip(coordinates, limits, strict=False)):
        if not -limit <= value <= limit:
            detail = Told("must be a {what} from -{limit} to {limit}", what=what, limit=limit)
            yield FieldError(f"{at}/{index}", detail)


def _land_faults(rings: dict[str, Ring]) -> Iterator[FieldError]:
    """Rings that enclose nothing, and lines that meet where a border cannot; the first counts."""
    lines: list[tuple[int, int, str, int, _Line]] = []
    found: dict[str, list[_Line]] = {}
    for where, ring in rings.items():
        spots = [(2 * round(spot[0] * _GRID), 2 * round(spot[1] * _GRID)) for spot in ring]
        borders = [line for line in pairwise(spots) if line[0] != line[1]]
        if all(_side(borders[0], spot) == 0 for spot in spots if borders):
            yield FieldError(where, "encloses no area")
        found[where] = borders
        for index, line in enumerate(borders):
            west, east = sorted((line[0][0], line[1][0]))
            lines.append((west, east, where, index, line))
    lines.sort(key=lambda each: each[0])
    for at, (_, east, where, index, line) in enumerate(lines):
        for west, _, other, number, second in lines[at + 1 :]:
            if west > east:
                break
            steps = abs(index - number)
            is_next = where == other and steps in {1, len(found[where]) - 1}
            if where == other and _meet(line, second, is_next=is_next):
                text = "crosses or touches itself on the line {line}"
                yield FieldError(where, Told(text, line=_told(second)))
            if where != other and _cross(line, second):
                later = max(where, other, key=list(rings).index)
                text = "crosses another ring on the line {line}"
                yield FieldError(later, Told(text, line=_told(second)))
    yield from _lying_faults(found)


def _lying_faults(rings: dict[str, list[_Line]]) -> Iterator[FieldError]:
    """Holes beyond their border, rings that lie over others, and holes that leave nothing."""
    pieces = [list(piece) for _, piece in groupby(rings, lambda at: at.rpartition("/")[0])]
    areas = {at: abs(sum(a * y - x * b for (a, b), (x, y) in r)) for at, r in rings.items()}
    for border, *holes in pieces:
        for hole in holes:
            if -1 in _places(rings[hole], rings[border]):
                yield FieldError(hole, "must lie within its border")
    boxes = {at: _box(ring) for at, ring in rings.items()}
    for peers in (pieces, *([[hole] for hole in holes] for _, *holes in pieces)):
        for (one, *lakes), (two, *ponds) in combinations(peers, 2):
            if _are_apart(boxes[one], boxes[two]):
                continue
            places = _places(rings[one], rings[two]) | _places(rings[two], rings[one])
            islands = [(one, pond) for pond in ponds] + [(two, lake) for lake in lakes]
            is_over = 1 in places or -1 not in places
            if is_over and all(-1 in _places(rings[a], rings[b]) for a, b in islands):
                yield FieldError(two, "overlaps another ring")
    for border, *holes in pieces:
        if sum(areas[hole] for hole in holes) == areas[border]:
            yield FieldError(holes[-1], "leaves no area")


def _box(ring: list[_Line]) -> _Line:
    """Its corners in the south-west and north-east."""
    xs, ys = zip(*(spot for spot, _ in ring), strict=True)
    return (min(xs), min(ys)), (max(xs), max(ys))


def _are_apart(one: _Line, two: _Line) -> bool:
    return any(one[1][n] < two[0][n] or two[1][n] < one[0][n] for n in (0, 1))


def _places(one: list[_Line], two: list[_Line]) -> set[int]:
    """Where the lines of a ring run: in another one (1), along it (0), outside (-1).

    They cross nowhere, so that each is in one place between the spots where they touch.
    """
    found = set()
    for line in one:
        spots = {spot for spot, _ in two if _side(line, spot) == 0 and _is_within(line, spot)}
        for (ax, ay), (bx, by) in pairwise(sorted(spots.union(line))):
            found.add(_place(two, ((ax + bx) // 2, (ay + by) // 2)))
    return found


def _place(ring: list[_Line], spot: _Spot) -> int:
    place = -1
    for line in ring:
        side, (south, north) = _side(line, spot), (line[0][1], line[1][1])
        if side == 0 and _is_within(line, spot):
            return 0
        if (south > spot[1]) != (north > spot[1]) and (side > 0) == (north > south):
            place = -place
    return place


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
    return " to ".join(f"[{x / _GRID / 2:.9g}, {y / _GRID / 2:.9g}]" for x, y in line)
