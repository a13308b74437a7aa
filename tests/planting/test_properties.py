"""Random histories of people and operators: trees, grams and stock are what a plain model says."""

from dataclasses import dataclass, field
from datetime import timedelta

from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from service.planting.pledge import PledgeNotCancellableError
from service.planting.projects import change_project
from service.planting.stock import SoldOutError
from service.planting.trees import Status, TreeStatusError
from service.platform.errors import InsufficientEnergyError
from tests.planting.forestry import (
    START,
    advance,
    allocate,
    assert_all_balances,
    balances,
    by_operator,
    cancel,
    make_people,
    open_plot,
    open_project,
    pledge,
)

PEOPLE, CAPACITY, ENERGY_G = 3, 12, 1_000
PERSON, PLOT, FEW = st.integers(0, PEOPLE - 1), st.integers(0, 1), st.integers(1, 5)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("pledge"), PERSON, FEW),
        st.tuples(st.just("allocate"), st.just(0), FEW),
        st.tuples(st.just("planted"), st.just(0), st.booleans()),
        st.tuples(st.just("cancel"), st.integers(0, 9)),
        st.tuples(st.just("allocate"), PLOT, FEW),
        st.tuples(st.just("planted"), PLOT, st.booleans()),
        st.tuples(st.just("verified"), PLOT, st.booleans()),
        st.tuples(st.just("lost"), PLOT, st.booleans()),
        st.tuples(st.just("price"), st.integers(50, 150)),
    ),
    min_size=12,
    max_size=32,
)
FROM = {
    "planted": {"allocated", "replaced"},
    "verified": {"planted"},
    "lost": {"allocated", "replaced", "planted", "verified"},
}
DONE = {"planted": {"planted", "verified"}, "verified": {"verified"}, "lost": {"lost"}}


@dataclass
class _Tree:
    owner: int
    pledge: int
    price_g: int
    status: str = "pledged"
    plot: int | None = None
    spent: bool = False


@dataclass
class _Model:
    """A ledger of trees as a child would keep it."""

    price_g: int = 100
    trees: dict = field(default_factory=dict)
    pledges: list = field(default_factory=list)

    def of(self, **wanted):
        return [
            tree
            for tree in self.trees.values()
            if all(getattr(tree, name) == value for name, value in wanted.items())
        ]

    def alive(self):
        return [tree for tree in self.trees.values() if tree.status != "cancelled"]

    def account(self, owner):
        trees = [tree for tree in self.alive() if tree.owner == owner]
        spent_g = sum(tree.price_g for tree in trees if tree.spent)
        pledged_g = sum(tree.price_g for tree in trees if not tree.spent)
        return {
            "available": ENERGY_G - spent_g - pledged_g,
            "pledged": pledged_g,
            "planted": spent_g,
            "trees": len(trees),
        }


class _World:
    """The real thing beside its model: each step is done in both and must end alike."""

    def __init__(self, database, people, project, plots):
        self.database, self.people, self.project, self.plots = database, people, project, plots
        self.model, self.now = _Model(), START

    async def step(self, kind, *values):
        self.now += timedelta(hours=1)
        if kind in FROM:
            await self.advance(kind, *values)
        else:
            await getattr(self, kind)(*values)

    async def price(self, price_g):
        async with self.database.transaction() as connection:
            changes = {"price_g": price_g}
            await change_project(connection, self.project, changes, by_operator(self.now))
        self.model.price_g = price_g

    async def pledge(self, owner, trees):
        model = self.model
        left = CAPACITY - len(model.alive())
        needed_g, available_g = trees * model.price_g, model.account(owner)["available"]
        person = self.people[owner]
        try:
            made = await pledge(self.database, person, self.project, trees, now=self.now)
        except SoldOutError:
            assert trees > left
        except InsufficientEnergyError:
            assert needed_g > available_g
        else:
            assert trees <= left
            assert needed_g <= available_g
            for tree in made.trees:
                model.trees[tree.number] = _Tree(owner, len(model.pledges), model.price_g)
            model.pledges.append((owner, made.id))

    async def cancel(self, which):
        if which >= len(self.model.pledges):
            return
        owner, pledge_id = self.model.pledges[which]
        trees = self.model.of(pledge=which)
        may = all(tree.status == "pledged" for tree in trees)
        try:
            await cancel(self.database, self.people[owner], pledge_id, self.now)
            assert may
        except PledgeNotCancellableError:
            assert not may
        else:
            for tree in trees:
                tree.status = "cancelled"

    async def allocate(self, plot, wanted):
        waiting = [*self.model.of(status="lost"), *self.model.of(status="pledged")]
        try:
            report = await allocate(self.database, self.plots[plot], wanted, self.now)
        except TreeStatusError:
            assert not waiting
            return
        moved = [self.model.trees[number] for number in report.trees]
        assert len(moved) == min(wanted, len(waiting))
        assert all(any(tree is other for other in waiting) for tree in moved)
        # Lost ones first: a pledged one only goes when no lost one stays behind.
        lost = sum(tree.status == "lost" for tree in moved)
        assert lost == min(wanted, len(self.model.of(status="lost")))
        for tree in moved:
            tree.status = "replaced" if tree.status == "lost" else "allocated"
            tree.plot = plot

    async def advance(self, kind, plot, only_one):
        here = {number: t for number, t in self.model.trees.items() if t.plot == plot}
        able = sorted(number for number, tree in here.items() if tree.status in FROM[kind])
        numbers = able[:1] if able and only_one else None
        try:
            report = await advance(
                self.database, self.plots[plot], Status(kind), numbers=numbers, now=self.now
            )
        except TreeStatusError:
            assert not any(tree.status in FROM[kind] | DONE[kind] for tree in here.values())
            return
        assert sorted(report.trees) == (numbers or able)
        for number in report.trees:
            here[number].status = kind
            here[number].spent |= kind == "planted"


@settings(
    max_examples=40,
    # Without shrinking: every try is a history in a real database, the time for a test would end.
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
)
@given(steps=STEPS)
async def test_random_histories_are_exact(database, steps):
    people = await make_people(database, PEOPLE, ENERGY_G)
    project = await open_project(database, capacity=CAPACITY)
    plots = [await open_plot(database, project, name) for name in ("North", "South")]
    world = _World(database, people, project, plots)
    for step in steps:
        await world.step(*step)
    for owner, person in enumerate(people):
        assert await balances(database, person) == world.model.account(owner)
    rows = await database.pool.fetch(
        "SELECT number, status FROM trees WHERE project_id = $1", project
    )
    assert {row["number"]: row["status"] for row in rows} == {
        number: tree.status for number, tree in world.model.trees.items()
    }
    await assert_all_balances(database, people)
