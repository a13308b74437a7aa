"""Recording and pledging the usual way: one ORM session and one transaction a request.

What a good team writes first: rows are locked with FOR UPDATE, a request is repeatable by its key,
every gram is booked twice, the answer is what was stored. It is spared what the programme does
besides: tokens, rules, limits, chains of hashes, numbers of trees, boards. `USUAL_DATABASE_URL`
names its database.
"""

import hashlib
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar
from uuid import UUID, uuid4

import msgspec
from litestar import Litestar, Request, Response, get, post
from litestar.exceptions import ClientException, NotFoundException
from sqlalchemy import BigInteger, CheckConstraint, DateTime, Identity, LargeBinary
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

CONNECTIONS = 16


class Base(DeclarativeBase):
    type_annotation_map: ClassVar[dict[Any, Any]] = {
        int: BigInteger,
        datetime: DateTime(timezone=True),
    }


class Account(Base):
    """A person's balances."""

    __tablename__ = "accounts"
    __table_args__ = (CheckConstraint("available_g >= 0"),)

    person_id: Mapped[UUID] = mapped_column(primary_key=True)
    ripening_g: Mapped[int]
    available_g: Mapped[int]
    pledged_g: Mapped[int]


class Stock(Base):
    """The trees of a project that are left."""

    __tablename__ = "stock"
    __table_args__ = (CheckConstraint("trees_left >= 0"),)

    project_id: Mapped[UUID] = mapped_column(primary_key=True)
    price_g: Mapped[int]
    trees_left: Mapped[int]


class Key(Base):
    """The first answer to an idempotency key."""

    __tablename__ = "keys"

    person_id: Mapped[UUID] = mapped_column(primary_key=True)
    key: Mapped[str] = mapped_column(primary_key=True)
    fingerprint: Mapped[bytes] = mapped_column(LargeBinary)
    body: Mapped[bytes] = mapped_column(LargeBinary)
    created_at: Mapped[datetime]


class Action(Base):
    """A recorded act."""

    __tablename__ = "actions"

    id: Mapped[UUID] = mapped_column(primary_key=True)
    person_id: Mapped[UUID] = mapped_column(index=True)
    type: Mapped[str]
    occurred_at: Mapped[datetime]
    recorded_at: Mapped[datetime]
    attributes: Mapped[dict[str, Any]] = mapped_column(JSONB)
    saved_g: Mapped[int]
    energy_g: Mapped[int]


class Bubble(Base):
    """Energy that ripens."""

    __tablename__ = "bubbles"

    id: Mapped[UUID] = mapped_column(primary_key=True)
    person_id: Mapped[UUID] = mapped_column(index=True)
    remaining_g: Mapped[int]
    ripens_at: Mapped[datetime]
    expires_at: Mapped[datetime]


class Pledge(Base):
    """Energy for trees."""

    __tablename__ = "pledges"

    id: Mapped[UUID] = mapped_column(primary_key=True)
    person_id: Mapped[UUID] = mapped_column(index=True)
    project_id: Mapped[UUID]
    trees: Mapped[int]
    amount_g: Mapped[int]
    created_at: Mapped[datetime]


class Entry(Base):
    """One side of a booking."""

    __tablename__ = "entries"

    id: Mapped[int] = mapped_column(Identity(), primary_key=True)
    person_id: Mapped[UUID] = mapped_column(index=True)
    account: Mapped[str]
    amount_g: Mapped[int]
    cause: Mapped[str]
    cause_id: Mapped[UUID]
    at: Mapped[datetime]


class ActionBody(msgspec.Struct, forbid_unknown_fields=True):
    """What somebody did."""

    type: str
    occurred_at: datetime
    attributes: dict[str, int | float | str]
    reporter: str


class PledgeBody(msgspec.Struct, forbid_unknown_fields=True):
    """What to plant."""

    project_id: UUID
    trees: int


async def begun(session: AsyncSession, request: Request[Any, Any, Any]) -> tuple[Account, Key]:
    """The caller's locked account, and the row of the key; with an answer, it came before."""
    person_id, text = UUID(request.headers["x-person"]), request.headers["idempotency-key"]
    account = await session.get(Account, person_id, with_for_update=True)
    if account is None:
        raise NotFoundException
    fingerprint = hashlib.sha256(await request.body()).digest()
    key = await session.get(Key, (person_id, text))
    if key is None:
        now = datetime.now(UTC)
        return account, Key(
            person_id=person_id, key=text, fingerprint=fingerprint, body=b"", created_at=now
        )
    if key.fingerprint != fingerprint:
        raise ClientException("the key was used for another request", status_code=422)
    return account, key


def booked(
    session: AsyncSession, key: Key, sides: tuple[str, str], grams: int, cause: tuple[str, UUID]
) -> None:
    """Book grams from one account to another."""
    for account, amount_g in zip(sides, (-grams, grams), strict=True):
        session.add(
            Entry(
                person_id=key.person_id,
                account=account,
                amount_g=amount_g,
                cause=cause[0],
                cause_id=cause[1],
                at=key.created_at,
            )
        )


def answered(session: AsyncSession, key: Key, told: dict[str, Any]) -> Response[bytes]:
    """The answer, which is kept with its key."""
    key.body = msgspec.json.encode(told)
    session.add(key)
    return Response(key.body, media_type="application/json")


@post("/v1/me/actions")
async def record(request: Request[Any, Any, Any], data: ActionBody) -> Response[bytes]:
    """Record an action: two grams a hundred steps, which ripen for a day."""
    async with request.app.state.sessions.begin() as session:
        account, key = await begun(session, request)
        if key.body:
            return Response(key.body, media_type="application/json")
        grams = max(1, int(data.attributes["steps"]) // 50)
        action = Action(
            id=uuid4(),
            person_id=key.person_id,
            type=data.type,
            occurred_at=data.occurred_at,
            recorded_at=key.created_at,
            attributes=data.attributes,
            saved_g=int(float(data.attributes["distance_km"]) * 100),
            energy_g=grams,
        )
        bubble = Bubble(
            id=action.id,
            person_id=key.person_id,
            remaining_g=grams,
            ripens_at=key.created_at + timedelta(days=1),
            expires_at=key.created_at + timedelta(days=4),
        )
        account.ripening_g += grams
        session.add_all([action, bubble])
        booked(session, key, ("issuance", "ripening"), grams, ("action", action.id))
        told = {
            "id": action.id,
            "type": action.type,
            "occurred_at": action.occurred_at,
            "recorded_at": action.recorded_at,
            "saved_g": action.saved_g,
            "energy_g": grams,
            "bubble": {"ripens_at": bubble.ripens_at, "expires_at": bubble.expires_at},
        }
        return answered(session, key, told)


@post("/v1/me/pledges")
async def pledge(request: Request[Any, Any, Any], data: PledgeBody) -> Response[bytes]:
    """Reserve the price of some trees, and the trees."""
    async with request.app.state.sessions.begin() as session:
        account, key = await begun(session, request)
        if key.body:
            return Response(key.body, media_type="application/json")
        stock = await session.get(Stock, data.project_id, with_for_update=True)
        if stock is None:
            raise NotFoundException
        amount_g = stock.price_g * data.trees
        if account.available_g < amount_g or stock.trees_left < data.trees:
            raise ClientException("insufficient energy, or sold out", status_code=409)
        account.available_g -= amount_g
        account.pledged_g += amount_g
        stock.trees_left -= data.trees
        row = Pledge(
            id=uuid4(),
            person_id=key.person_id,
            project_id=data.project_id,
            trees=data.trees,
            amount_g=amount_g,
            created_at=key.created_at,
        )
        session.add(row)
        booked(session, key, ("available", "pledged"), amount_g, ("pledge", row.id))
        told = {
            "id": row.id,
            "project_id": row.project_id,
            "trees": row.trees,
            "amount_g": amount_g,
            "status": "pledged",
            "created_at": row.created_at,
        }
        return answered(session, key, told)


@get("/bare")
async def bare() -> None:
    """Whether it is up."""


@asynccontextmanager
async def opened(app: Litestar) -> AsyncIterator[None]:
    """Keep a pool of connections while it serves."""
    engine = create_async_engine(
        os.environ["USUAL_DATABASE_URL"], pool_size=CONNECTIONS, max_overflow=0, pool_timeout=60
    )
    app.state.sessions = async_sessionmaker(engine, expire_on_commit=False)
    yield
    await engine.dispose()


app = Litestar([record, pledge, bare], lifespan=[opened], openapi_config=None, logging_config=None)
