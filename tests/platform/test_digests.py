"""What is digested is what the database gives back: every digested column is written with odd
values, read back and digested again.

Values are made by the type of a column, for all columns of a table that is digested: one that is
added is tried here at once, and one of a type that nobody thought of fails.
"""

import ast
import unicodedata
from collections import Counter
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from uuid import UUID, uuid4

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import BigInteger, Boolean, DateTime, Integer, LargeBinary, SmallInteger, Text, Uuid
from sqlalchemy.dialects.postgresql import JSONB

import service
from service.actions.audit_facts import audit_facts
from service.actions.facts import canonical_facts, facts_digest
from service.actions.store import Action, actions_write
from service.audit.checks import PAGE_CHECKS
from service.audit.whole import read_log
from service.ledger.accounts import Account
from service.ledger.books import book_writes, lock_book, make_book, post
from service.ledger.chain import Transfer, transfer_hash
from service.platform.acts import Act, entry_digest
from service.platform.canonical import as_stored, canonical
from service.platform.database import write_all
from service.rulebooks.audit import audit_rules
from service.rules.compile.draft import sha256_of
from service.rules.decide.judge import by_key_of
from service.tables import metadata

OFFSETS = st.integers(-1_439, 1_439).map(lambda n: timezone(timedelta(minutes=n)))
TIMES = st.one_of(
    st.datetimes(datetime(2000, 1, 1), datetime(2199, 12, 31, 23, 59, 59, 999_999)),  # noqa: DTZ001
    st.sampled_from(
        [
            datetime(2000, 1, 1),  # noqa: DTZ001
            datetime(2000, 2, 29, 23, 59, 59, 999_999),  # noqa: DTZ001
            datetime(2028, 2, 29, 0, 0, 0, 1),  # noqa: DTZ001
            datetime(2199, 12, 31, 23, 59, 59, 999_999),  # noqa: DTZ001
        ]
    ),
)
TIMES = st.builds(lambda at, zone: at.replace(tzinfo=UTC).astimezone(zone), TIMES, OFFSETS)
ODD_TEXTS = [
    "",
    unicodedata.normalize("NFC", "Zoë Ångström 각"),
    unicodedata.normalize("NFD", "Zoë Ångström 각"),
    "\u200b\ufeff \u202e",
    "\x01\x1f\x7f\x85\t\r\n",
    "👩🏽\u200d🌾🌱",
    '"\\\\ -0.0, 1e16, 2026-11-30T16:00:00+08:00',
    "\uffff\U0010ffff",
]
TEXTS = st.one_of(
    st.sampled_from(ODD_TEXTS),
    st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=12),
)
NUMBERS = st.one_of(
    st.sampled_from(
        [-0.0, 0.0, 0, 3.0, 3, 1e-320, 5e-324, 1e16, 1e300, -1e16, 9.999999999999999e15]
    ),
    st.sampled_from([2**53, 2**53 + 1, 2**63, 2**64, 10**30, -(10**30)]),
    st.floats(allow_nan=False, allow_infinity=False),
    st.integers(-(2**70), 2**70),
)
VALUES = st.one_of(st.none(), st.booleans(), NUMBERS, TEXTS)
NESTED = st.recursive(
    VALUES,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4),
    max_leaves=12,
)
DOCUMENTS = st.dictionaries(TEXTS, NESTED, max_size=5)
BY_TYPE = {
    BigInteger: st.integers(-(2**63), 2**63 - 1),
    Boolean: st.booleans(),
    DateTime: TIMES,
    Integer: st.integers(-(2**31), 2**31 - 1),
    JSONB: DOCUMENTS,
    LargeBinary: st.binary(max_size=40),
    SmallInteger: st.integers(1, 8),
    Text: TEXTS,
    Uuid: st.uuids(),
}
# What a table asks of a value, beside its type.
ASKED = {
    "actions": {
        "kind": st.sampled_from(["action", "reversal"]),
        "fingerprint": st.binary(min_size=16, max_size=16),
        "rulebook_version": st.just(1),
        "awards": st.lists(DOCUMENTS, max_size=3),
        "saved_g": st.integers(0, 2**63 - 1),
        "energy_g": st.integers(0, 2**63 - 1),
    },
    "transfers": {"amount_g": st.integers(1, 2**40)},
    "audit_log": {},
}
SALT = b"salt of the test"


def rows_of(table):
    """Rows of a table with odd values in every column."""
    asked = ASKED[table]
    values = {}
    for column in metadata.tables[table].columns:
        value = asked[column.name] if column.name in asked else BY_TYPE[type(column.type)]
        values[column.name] = st.none() | value if column.nullable else value
    return st.fixed_dictionaries(values)


def action_of(row):
    """A row as the main job or a reversal makes it: of values that are as they will be stored."""
    action = Action(**as_stored(row))
    action.attributes = action.attributes or {}
    if action.kind == "action":
        action.reverses = None
    else:
        action.reverses = row["reverses"] or UUID(int=5)
    action.facts_digest = digest_of_action(action)
    return action


def digest_of_action(action):
    told = canonical_facts(
        action.type, action.occurred_at, action.reporter, action.attributes or {}
    )
    rules = "" if action.kind == "reversal" else sha256_of({})
    return facts_digest(SALT, told, rules, action)


async def version_of(connection, files):
    """The version of the rules that these files are, published if it was not yet."""
    sha256 = bytes.fromhex(sha256_of(files))
    found = "SELECT version FROM rulebooks WHERE sha256 = $1"
    return await connection.fetchval(found, sha256) or await connection.fetchval(
        "INSERT INTO rulebooks (version, sha256, files, author, note, created_at)"
        " SELECT coalesce(max(version), 0) + 1, $1, $2, '', '', $3 FROM rulebooks"
        " RETURNING version",
        sha256,
        files,
        datetime.now(UTC),
    )


@settings(max_examples=60)
@given(row=rows_of("actions"))
async def test_the_facts_of_an_action(database, row):
    version = await version_of(database.pool, {})
    action = action_of(row | {"participant_id": uuid4(), "rulebook_version": version})
    notes = Counter()
    async with database.transaction() as connection:
        await make_book(connection, action.participant_id, SALT, datetime.now(UTC))
        await write_all(connection, [actions_write([action])])
        assert await audit_facts(connection, [action.participant_id], notes) == []
    assert notes == {}
    # What limits and claims are found by follows from attributes, too.
    back = await database.pool.fetchval(
        "SELECT attributes FROM actions WHERE participant_id = $1", action.participant_id
    )
    for name, value in as_stored(action.attributes).items():
        if not isinstance(value, dict | list):
            assert by_key_of(back[name]) == by_key_of(value)


@settings(max_examples=60)
@given(rows=st.lists(rows_of("transfers"), min_size=1, max_size=4))
async def test_the_chain_of_a_book(database, rows):
    owner, at = uuid4(), datetime(2000, 1, 1, tzinfo=UTC)
    async with database.transaction() as connection:
        await make_book(connection, owner, SALT, at)
        book = await lock_book(connection, owner)
        for row in sorted(rows, key=lambda row: row["at"]):
            # The issuance pays: no account may fall below its floor.
            post(
                book,
                Account.ISSUANCE,
                Account(row["credit"]) if row["credit"] in range(2, 8) else Account.RIPENING,
                row["amount_g"],
                cause=row["cause"],
                cause_id=row["cause_id"],
                counter_id=row["counter_id"],
                at=row["at"],
            )
        await write_all(connection, book_writes([book]))
        (chain,) = [check for check in PAGE_CHECKS if check.name == "chain"]
        assert await connection.fetch(chain.sql, [owner], [0]) == []
        assert await connection.fetchval(
            "SELECT count(*) FROM transfers WHERE participant_id = $1", owner
        ) == len(rows)


@settings(max_examples=60)
@given(row=rows_of("audit_log"))
async def test_the_log_of_operators_acts(database, row):
    async with database.transaction() as connection:
        act = Act(row["actor"], row["request_id"], row["at"])
        await act.log(connection, row["act"], row["object"], row["detail"])
    wrong, notes = [], Counter()
    async with database.pool.acquire() as connection:
        await read_log(connection, lambda _check, rows: wrong.extend(rows), notes)
    assert wrong == []
    assert notes == {}


@settings(max_examples=40)
@given(files=st.dictionaries(TEXTS.map(lambda name: name.replace("/", "")), TEXTS, max_size=4))
async def test_the_files_of_a_version_of_the_rules(database, files):
    async with database.transaction() as connection:
        await version_of(connection, files)
        assert await audit_rules(connection) == []


@settings(max_examples=200)
@given(value=NESTED, at=TIMES)
async def test_any_value(database, value, at):
    back = await database.pool.fetchrow("SELECT $1::jsonb, $2::timestamptz", value, at)
    assert canonical([*back]) == canonical([value, at])
    assert [*back] == as_stored([value, at])


# ---- what is tried is all that is digested

OTHER = {
    BigInteger: lambda value: (value or 0) + 1,
    Boolean: lambda value: not value,
    DateTime: lambda value: (value or datetime(2026, 1, 1, tzinfo=UTC)) + timedelta(microseconds=1),
    Integer: lambda value: (value or 0) + 1,
    JSONB: lambda value: [value, 0],
    LargeBinary: lambda value: (value or b"") + b"x",
    SmallInteger: lambda value: value % 8 + 1,
    Text: lambda value: value + "x",
    Uuid: lambda value: UUID(int=((value or UUID(int=0)).int + 1) % 2**128),
}


def digest_of_transfer(row):
    named = {name: value for name, value in row.items() if name not in {"participant_id", "hash"}}
    return transfer_hash(b"", row["participant_id"], Transfer(**named), b"")


def digest_of_entry(row):
    order = ("seq", "at", "actor", "act", "object", "detail", "request_id")
    return entry_digest(b"", [row[name] for name in order])


DIGESTED = {
    "actions": (lambda row: digest_of_action(Action(**row)), {"participant_id", "facts_digest"}),
    "transfers": (digest_of_transfer, {"hash"}),
    "audit_log": (digest_of_entry, {"hash"}),
}


@pytest.mark.parametrize("table", DIGESTED)
@settings(max_examples=20)
@given(data=st.data())
def test_every_column_is_digested_but_for_these(table, data):
    """A column that no digest covers could be changed behind the back of the program."""
    row = data.draw(rows_of(table))
    digest, free = DIGESTED[table]
    columns = metadata.tables[table].columns
    unseen = {
        column.name
        for column in columns
        if digest(row | {column.name: OTHER[type(column.type)](row[column.name])}) == digest(row)
    }
    assert unseen == free


# Every function of the program that digests, and where what it digests is read back and tried.
TRIED = {
    "facts_digest": test_the_facts_of_an_action,
    "spelled_by_key": test_the_facts_of_an_action,
    "transfer_hash": test_the_chain_of_a_book,
    "first_head": test_the_chain_of_a_book,
    "entry_digest": test_the_log_of_operators_acts,
    "sha256_of": test_the_files_of_a_version_of_the_rules,
}
# And those whose digest is never made again from what a table gives back.
NOT_READ_BACK = {
    "a key or name, made of what is asked for": {
        *(
            "_id_of",
            "claim_key",
            "hidden_value",
            "__init__",
            "code_key",
            "derived_uuid",
            "subject_key",
            "_subject_key",
        ),
    },
    "compared with what is sent again, in canonical form": {
        *("participant_report", "reversal_row", "_fingerprint"),
    },
    "the bytes of a request, an answer, a cursor or a signature": {
        *("key_of", "_operator_key", "_tag", "_tag_of", "_fits_hmac"),
    },
    "digests of the version before, only compared": {"earlier_digest", "earlier_zeros"},
    "files and folders": {
        *("resolve_claims", "_digest", "_deliver", "_look_at_rejected", "_post", "_see_planted"),
        *("_send", "_socket_path", "is_outdated_by", "reachable_data_folder"),
        *("reachable_programs", "restart"),
    },
}
DIGESTS = {"blake2b", "sha256", "digest", "new", "md5", "sha1", "sha512", "blake2s", "sha3_256"}


def digests(node):
    """Whether it is a call that digests: of hashlib or hmac, however they were imported."""
    match node:
        case ast.Call(func=ast.Attribute(value=ast.Name(id="hashlib" | "hmac"), attr=name)):
            return name != "compare_digest"
        case ast.Call(func=ast.Name(id=name)):
            return name in DIGESTS
    return False


def test_every_digest_is_tried_or_says_why_not():
    known = {*TRIED}.union(*NOT_READ_BACK.values())
    found = {
        function.name
        for path in Path(service.__file__).parent.rglob("*.py")
        for function in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef)
        and any(map(digests, ast.walk(function)))
    }
    assert found - known == set()
    assert {*TRIED} - found == set()
