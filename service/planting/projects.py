"""Projects and plots: what operators open for pledging, and where the trees will stand.

A new price, season or capacity holds for pledges from then on; what is promised stays as it was.
"""

from datetime import date, datetime
from typing import Any
from uuid import UUID

from msgspec import Struct, to_builtins
from msgspec.structs import asdict, astuple, replace

from service.platform.acts import Act
from service.platform.database import Connection, Database, Write, write_all
from service.platform.errors import ConflictError, NotFoundError
from service.platform.ids import derived_uuid, uuid7


class ProjectCapacityError(ConflictError):
    """Fewer trees than were promised, or more than there is room for."""

    code = "project-capacity"
    members = ("pledged",)


class ProjectFacts(Struct, frozen=True, kw_only=True):
    """What an operator says of a project; `price_g` in grams a tree.

    Without a season it is always open (on the day of its end no more); without `funded` all of its
    capacity is paid for and can be pledged.
    """

    name: str
    species: str
    place: str
    country: str
    partner: str
    price_g: int
    capacity: int
    image_url: str | None = None
    funded: int | None = None
    season_from: date | None = None
    season_until: date | None = None

    @property
    def for_sale(self) -> int:
        """How many trees can be pledged in all."""
        return self.capacity if self.funded is None else self.funded

    def require_room(self, pledged: int) -> None:
        """Raise ProjectCapacityError when these facts cannot hold so many promised trees."""
        if self.for_sale > self.capacity:
            text = "{funded} trees are funded; the capacity cannot be {capacity}."
            raise ProjectCapacityError(text, funded=self.funded, capacity=self.capacity)
        if self.for_sale < pledged:
            text = "{pledged} trees are promised; {for_sale} are too few."
            raise ProjectCapacityError(text, pledged=pledged, for_sale=self.for_sale)


class PlotFacts(Struct, frozen=True):
    """What an operator says of a plot: its position as GeoJSON, its area in square metres."""

    name: str
    position: dict[str, Any]
    area_m2: float


async def make_project(connection: Connection, facts: ProjectFacts, act: Act) -> UUID:
    """Open a project with its whole stock. Raises ProjectCapacityError."""
    facts.require_room(0)
    project_id = uuid7(act.now)
    await _add_project(connection, project_id, facts, act.now)
    await act.log(connection, "project.make", project_id, to_builtins(facts))
    return project_id


async def change_project(
    connection: Connection, project_id: UUID, changes: dict[str, Any], act: Act
) -> None:
    """Change these fields of ProjectFacts. Raises NotFoundError or ProjectCapacityError."""
    row = await connection.fetchrow(_LOCK_PROJECT, project_id)
    if row is None:
        raise NotFoundError("There is no such project.")
    before = ProjectFacts(**dict(row))
    facts = replace(before, **changes)
    facts.require_room(await connection.fetchval(_LOCK_STOCK, project_id))
    await write_all(
        connection,
        [
            Write(_CHANGE, (project_id, *astuple(facts))),
            Write(_SET_STOCK, (project_id, facts.for_sale)),
        ],
    )
    told = {name: {"from": getattr(before, name), "to": getattr(facts, name)} for name in changes}
    await act.log(connection, "project.change", project_id, to_builtins(told))


async def make_plot(connection: Connection, project_id: UUID, facts: PlotFacts, act: Act) -> UUID:
    """Add a plot to a project. Raises NotFoundError."""
    plot_id = uuid7(act.now)
    values = (plot_id, project_id, facts.name, facts.position, facts.area_m2, act.now)
    if not await connection.fetchval(_ADD_PLOT, *values):
        raise NotFoundError("There is no such project.")
    detail = {"project_id": str(project_id), **asdict(facts)}
    await act.log(connection, "plot.make", plot_id, detail)
    return plot_id


async def seed_projects(database: Database, now: datetime) -> None:
    """Make the two demo projects where they are not there yet."""
    async with database.transaction() as connection:
        for facts in _DEMO_PROJECTS:
            await _add_project(connection, derived_uuid(facts.name.encode()), facts, now)


async def _add_project(
    connection: Connection, project_id: UUID, facts: ProjectFacts, now: datetime
) -> None:
    await write_all(
        connection,
        [
            Write(_ADD, (project_id, *astuple(facts), now)),
            Write(_ADD_STOCK, (project_id, facts.for_sale)),
        ],
    )


_DEMO: dict[str, Any] = {"country": "CN", "partner": "Demo planting partner", "capacity": 10_000}
_DEMO_PROJECTS = (
    ProjectFacts(
        name="demo-saxaul",
        species="Haloxylon ammodendron",
        place="Alxa desert, Inner Mongolia",
        price_g=17_900,
        **_DEMO,
    ),
    ProjectFacts(
        name="demo-seedling",
        species="Hedysarum scoparium",
        place="Minqin, Gansu",
        price_g=150,
        **_DEMO,
    ),
)

_FACTS = ", ".join(ProjectFacts.__struct_fields__)

_ADD = f"""
INSERT INTO projects (id, {_FACTS}, created_at)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)
ON CONFLICT DO NOTHING"""  # noqa: S608 - constant columns

_ADD_STOCK = "INSERT INTO stock (project_id, for_sale) VALUES ($1, $2) ON CONFLICT DO NOTHING"

_LOCK_PROJECT = f"""
SELECT {_FACTS} FROM projects WHERE id = $1 FOR NO KEY UPDATE"""  # noqa: S608 - constant columns

_CHANGE = f"""
UPDATE projects SET ({_FACTS}) = ($2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)
WHERE id = $1"""  # noqa: S608 - constant columns

_LOCK_STOCK = "SELECT pledged FROM stock WHERE project_id = $1 FOR NO KEY UPDATE"

_SET_STOCK = "UPDATE stock SET for_sale = $2 WHERE project_id = $1"

_ADD_PLOT = """
INSERT INTO plots (id, project_id, name, position, area_m2, created_at)
SELECT $1, p.id, $3, $4, $5, $6 FROM projects p WHERE p.id = $2
RETURNING true"""
