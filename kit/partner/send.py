"""Sends a partner's file in signed batches, some at once, settled in the order of the file.

Whatever the network does, a batch is sent until it is answered: an event is paid once however often
it arrives. Each attempt is signed anew, with the time it is made; the id of the delivery stays.
"""

import asyncio
import hashlib
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any

import httpx
import msgspec

from kit.partner.journal import Journal
from kit.partner.keys import SigningKey
from kit.partner.read import Record
from service.platform.clock import Clock

BATCH_MAX = 500
PARALLEL = 4
PATIENCE_S = 300.0

_BODY_MAX_BYTES = 1_000_000
_PAUSE_S = 0.2
_PAUSE_MAX_S = 10.0
_SKEW_MAX_S = 60
_PASSING = frozenset({429, 502, 503, 504})
_clock = Clock()
_TYPE = "application/cloudevents-batch+json"


class SendError(Exception):
    """Sending cannot go on; what was answered so far is kept. The message is one line."""


@dataclass(slots=True)
class Batch:
    """Records that go together, and the digest of the file up to the last of them."""

    records: list[Record]
    bytes: int = 0
    digest: str = ""

    def has_room(self, record: Record, batch_max: int) -> bool:
        """Whether this record may still join."""
        size = self.bytes + len(record.body) + 1
        return len(self.records) < batch_max and size <= _BODY_MAX_BYTES

    def add(self, record: Record) -> None:
        """Let a record join."""
        self.records.append(record)
        self.bytes += len(record.body) + 1


class Sender:
    """One partner's way to one API."""

    def __init__(
        self,
        client: httpx.AsyncClient,
        partner: str,
        key: SigningKey,
        *,
        patience_s: float = PATIENCE_S,
    ) -> None:
        """`client` knows the API's address."""
        self._client = client
        self._path = f"/v1/partners/{partner}/events"
        self._key = key
        self._patience_s = patience_s

    async def send_file(
        self,
        batches: Iterator[Batch],
        journal: Journal,
        *,
        parallel: int,
        progress: Callable[[int], None],
    ) -> None:
        """Send all batches; `progress` is told how many records were answered. Raises SendError."""
        waiting: deque[tuple[Batch, asyncio.Task[list[dict[str, Any]]]]] = deque()
        try:
            for batch in batches:
                waiting.append((batch, asyncio.create_task(self._answers(batch))))
                if len(waiting) >= parallel:
                    await _settle(*waiting.popleft(), journal, progress)
            while waiting:
                await _settle(*waiting.popleft(), journal, progress)
        finally:
            for _, task in waiting:
                task.cancel()
            await asyncio.gather(*(task for _, task in waiting), return_exceptions=True)

    async def _answers(self, batch: Batch) -> list[dict[str, Any]]:
        """One result a record, in their order. Raises SendError."""
        sound = [record for record in batch.records if not record.fault]
        results = iter(await self._send(sound) if sound else [])
        return [_faulty(record) if record.fault else next(results) for record in batch.records]

    async def _send(self, records: list[Record]) -> list[dict[str, Any]]:
        body = b"[" + b",".join([record.body for record in records]) + b"]"
        response = await self._post(body)
        if response.status_code == httpx.codes.REQUEST_ENTITY_TOO_LARGE and records[1:]:
            half = len(records) // 2
            return [*await self._send(records[:half]), *await self._send(records[half:])]
        answer = _members(response)
        if response.status_code != httpx.codes.OK:
            raise SendError(_refused(response, answer))
        results: list[dict[str, Any]] = answer.get("results", [])
        if len(results) != len(records):
            raise SendError(
                f"{response.url} answered {len(results)} results for {len(records)} events."
            )
        return results

    async def _post(self, body: bytes) -> httpx.Response:
        """Send until answered; any answer but that of an API that is away or busy."""
        deadline = time.monotonic() + self._patience_s
        message_id = "msg_" + hashlib.sha256(body).hexdigest()[:32]
        pause_s = _PAUSE_S
        while True:
            headers = {
                "Content-Type": _TYPE,
                **self._key.headers(message_id, body, _clock.real_now()),
            }
            wait_s = 0.0
            try:
                response = await self._client.post(self._path, content=body, headers=headers)
            except httpx.TransportError as error:
                said = str(error) or type(error).__name__
            else:
                if response.status_code not in _PASSING:
                    return response
                said = f"status {response.status_code}"
                wait_s = _retry_after_s(response)
            wait_s = max(wait_s, pause_s)
            if time.monotonic() + wait_s > deadline:
                raise SendError(
                    f"{self._client.base_url} does not take events for {self._patience_s:g} s"
                    f" ({said}); run it again to go on."
                )
            await asyncio.sleep(wait_s)
            pause_s = min(2 * pause_s, _PAUSE_MAX_S)


def batches_of(records: Iterable[Record], journal: Journal, batch_max: int) -> Iterator[Batch]:
    """Group records that were not sent yet. Raises JournalFaultError when the file is another."""
    skip = journal.state.records
    batch = Batch([])
    for position, record in enumerate(records, 1):
        if position > skip and batch.records and not batch.has_room(record, batch_max):
            yield batch
            batch = Batch([])
        journal.cover(record.body)
        if position == skip:
            journal.check()
        if position > skip:
            batch.add(record)
            batch.digest = journal.digest
    if batch.records:
        yield batch


async def _settle(
    batch: Batch,
    task: asyncio.Task[list[dict[str, Any]]],
    journal: Journal,
    progress: Callable[[int], None],
) -> None:
    """Await a batch, keep its rejected items and how far the file is sent."""
    rejected = []
    state = journal.state
    for record, result in zip(batch.records, await task, strict=True):
        _count(state.statuses, result["status"])
        state.energy_g += result.get("energy_g") or 0
        if result["status"] == "rejected":
            problem = result["problem"]
            reason = _reason_of(problem)
            _count(state.reasons, reason)
            said = problem.get("detail") or problem["title"]
            state.firsts.setdefault(reason, f"record {record.number:,}: {said}")
            event = msgspec.Raw(record.body)
            rejected.append({"record": record.number, "event": event, "problem": problem})
    journal.add_rejected(rejected)
    state.records += len(batch.records)
    state.unsent += sum(1 for record in batch.records if record.fault)
    state.digest = batch.digest
    journal.save()
    progress(len(batch.records))


def _count(numbers: dict[str, int], name: str) -> None:
    numbers[name] = numbers.get(name, 0) + 1


def _reason_of(problem: dict[str, Any]) -> str:
    """The code of a problem, with its reason where there is one."""
    reason = problem.get("reason")
    return f"{problem['code']} ({reason})" if reason else str(problem["code"])


def _faulty(record: Record) -> dict[str, Any]:
    """What this side knows to be wrong already, as the API would say it."""
    problem = {
        "code": "record-invalid",
        "title": "Not sent",
        "detail": f"The record {record.fault}.",
    }
    return {"status": "rejected", "problem": problem}


def _refused(response: httpx.Response, answer: dict[str, Any]) -> str:
    said = answer.get("detail") or answer.get("title") or "no problem document"
    text = f"{response.url} refused the delivery with {response.status_code}: {said}"
    if response.status_code == httpx.codes.UNAUTHORIZED:
        skew_s = _skew_s(response)
        if abs(skew_s) > _SKEW_MAX_S:
            return f"{text} This machine's clock is {skew_s:+.0f} s from the API's: set it."
        return f"{text} Look at --partner and --key."
    return text


def _skew_s(response: httpx.Response) -> float:
    """By how much this machine's clock is ahead, as far as the answer tells."""
    try:
        theirs = parsedate_to_datetime(response.headers["date"])
    except (KeyError, ValueError, TypeError):
        return 0
    return (_clock.real_now() - theirs).total_seconds()


def _retry_after_s(response: httpx.Response) -> float:
    text = response.headers.get("retry-after", "")
    return float(text) if text.isascii() and text.isdecimal() and len(text) < 5 else 0.0


def _members(response: httpx.Response) -> dict[str, Any]:
    try:
        members = msgspec.json.decode(response.content)
    except msgspec.DecodeError:
        return {}
    return members if isinstance(members, dict) else {}
