"""Versions of the rules over HTTP, the operators' side: check, publish, compare, roll back."""

import asyncio
import re
from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Annotated, Literal

import msgspec
from litestar.params import FromPath
from msgspec import Meta, Struct

from service.http.access import Request, act_of, get, log_act, post
from service.http.answer import JsonAnswer, Listing, answer_once
from service.http.decode import NoFields, read_body
from service.http.faults import fault
from service.http.pages import Page, paged
from service.http.shared import shared
from service.http.texts import prose
from service.platform.database import Connection, Database
from service.platform.errors import NotFoundError
from service.rulebooks.checked import RulebookInvalidError, checked_draft, diff_or_raise, files_of
from service.rulebooks.publish import Rulebooks, activate, publish
from service.rulebooks.queries import RulebookAnswer, RulebookSummary, get_version, list_versions
from service.rules.compile.draft import sha256_of
from service.rules.tell.changes import RulebookDifference
from service.rules.trial.check import problems_json

_FILE_NAME = re.compile(r"(?:[^/\x00-\x1f\x7f]+/)*[^/\x00-\x1f\x7f]+\.ya?ml")
_SCENARIO_FOLDERS = {("tests",), ("rules", "tests")}
_NAME_RULE = "must be the name of a .yaml file, of which there is one"

Files = Annotated[
    dict[
        Annotated[str, Meta(min_length=1, max_length=200)],
        Annotated[str, Meta(max_length=2_097_152)],
    ],
    Meta(max_length=64),
]
Severity = Literal["error", "warning"]


class RuleFiles(Struct, frozen=True, forbid_unknown_fields=True):
    """A set of rule files, by name."""

    files: Files


class RulebookOrder(Struct, frozen=True, forbid_unknown_fields=True):
    """What to publish and why. With `based_on` it is refused when another version is active."""

    files: Files
    note: Annotated[str, Meta(min_length=1, max_length=1_000), prose]
    based_on: Annotated[int, Meta(ge=1, le=2**31 - 1)] | None = None


class ProblemAnswer(Struct, frozen=True):
    """A fault at the line and column (from 1) of the very token."""

    file: str
    line: int
    column: int
    path: str
    message: str
    severity: Severity


class CheckAnswer(Struct, frozen=True):
    """Whether these files could be published; warnings do not stand in the way."""

    ok: bool
    problems: list[ProblemAnswer]


class PublishedAnswer(Struct, frozen=True):
    """The version that decides from now on; processes switch within two seconds."""

    version: int
    sha256: str


@post("/v1/operator/rulebooks/check", "operator:rules:write", body=RuleFiles)
async def check_rulebook(request: Request) -> CheckAnswer:
    """Check rule files, run their examples and scenarios: every problem. Nothing is stored."""
    files, scenarios = parted((await read_body(request, RuleFiles)).files)
    try:
        draft = await asyncio.to_thread(checked_draft, files, scenarios)
        found = problems_json(draft.problems)
    except RulebookInvalidError as error:
        found = problems_json(error.problems)
    answer = msgspec.convert(found, CheckAnswer)
    await log_act(request, "rulebook.check", sha256_of(files), {"ok": answer.ok})
    return answer


@post(
    "/v1/operator/rulebooks",
    "operator:rules:write",
    status=201,
    body=RulebookOrder,
    answer=PublishedAnswer,
    takes_key=True,
    problems=("rulebook-invalid", "rulebook-changed"),
)
async def publish_rulebook(request: Request) -> JsonAnswer:
    """Check rule files, run their examples, store them as a version and make it active.

    With an Idempotency-Key it can be sent again safely.
    """
    order = await read_body(request, RulebookOrder)
    files, scenarios = parted(order.files)
    # Before the transaction, for a large set takes seconds, and beside the other requests.
    draft = await asyncio.to_thread(checked_draft, files, scenarios)
    shared(request, Rulebooks).offer(draft)

    async def effect(connection: Connection) -> PublishedAnswer:
        act = act_of(request)
        version = await publish(
            connection, files, draft, act, note=order.note, based_on=order.based_on
        )
        return PublishedAnswer(version, sha256_of(files))

    answer = await answer_once(request, effect)
    await shared(request, Rulebooks).look()
    return answer


@get("/v1/operator/rulebooks", "operator:rules:write", query=Page)
async def list_rulebooks(request: Request) -> Listing[RulebookSummary]:
    """Published versions, the newest first."""
    page = paged(request, "rulebooks", version=int)
    lists = shared(request, Database).lists
    views = await list_versions(lists, before=page.after, limit=page.rows)
    await log_act(request, "rulebook.list", "rulebooks", {})
    return page.listing(views)


@get("/v1/operator/rulebooks/{version:str}", "operator:rules:write")
async def get_rulebook(request: Request, version: FromPath[str]) -> RulebookAnswer:
    """One published version with its files."""
    answer = await get_version(shared(request, Database).lists, _version(version))
    await log_act(request, "rulebook.show", answer.version, {})
    return answer


@get(
    "/v1/operator/rulebooks/{before:str}/diff/{after:str}",
    "operator:rules:write",
    problems=("rulebook-invalid",),
)
async def diff_rulebooks(
    request: Request, before: FromPath[str], after: FromPath[str]
) -> RulebookDifference:
    """What changes from one published version to another, in words and by the examples."""
    wanted = _version(before), _version(after)
    async with shared(request, Database).pool.acquire() as connection:
        sides = [await files_of(connection, version) for version in wanted]
    difference = await asyncio.to_thread(diff_or_raise, *sides)
    await log_act(request, "rulebook.diff", wanted[1], {"before": wanted[0]})
    return difference


@post(
    "/v1/operator/rulebooks/{version:str}/activate",
    "operator:rules:write",
    body=NoFields,
    problems=("rulebook-invalid",),
)
async def activate_rulebook(request: Request, version: FromPath[str]) -> RulebookAnswer:
    """Let a published version decide again: roll back or forward."""
    wanted = _version(version)
    await read_body(request, NoFields)
    # Before the transaction, for a large set takes seconds; and kept, for it decides from now on.
    rulebook = await shared(request, Rulebooks).get(wanted)
    async with shared(request, Database).transaction() as connection:
        await activate(connection, wanted, act_of(request), rulebook)
    await shared(request, Rulebooks).look()
    return await get_version(shared(request, Database).lists, wanted)


def _version(text: str) -> int:
    """A version in the path. Raises NotFoundError for what is none."""
    if not re.fullmatch(r"[1-9][0-9]{0,8}", text):
        raise NotFoundError("There is no version {version} of the rules.", version=text[:40])
    return int(text)


def parted(files: Mapping[str, str]) -> tuple[dict[str, str], dict[str, str]]:
    """Tell rule files from scenarios, which are tests/NAME.yaml and are run but not published.

    Rule files are kept by their last name, so each needs one of its own.
    """
    rule_files: dict[str, str] = {}
    scenarios: dict[str, str] = {}
    seen: set[str] = set()
    for name, text in files.items():
        path = PurePosixPath(name)
        is_scenario = path.parent.parts in _SCENARIO_FOLDERS
        last = name if is_scenario else path.name
        if not _FILE_NAME.fullmatch(name) or last in seen:
            pointer = name.replace("~", "~0").replace("/", "~1")
            raise fault(f"#/files/{pointer}", _NAME_RULE)
        seen.add(last)
        (scenarios if is_scenario else rule_files)[name] = text
    return rule_files, scenarios
