"""The same replay, told by a partner: signed events of everybody's trips in batches."""

import hashlib
from collections.abc import Callable, Sequence
from datetime import date
from typing import Any
from zoneinfo import ZoneInfo

import httpx
import msgspec

from kit.partner.keys import SigningKey, signing_key
from kit.replay.api import Api, members_of
from kit.replay.plan import PARTNER_ID, PARTNER_SOURCE, PARTNER_TYPE, Report
from kit.replay.run import Replay, all_of
from service.platform.clock import Clock

_OPERATOR = "replay-operator"
_BATCH = "application/cloudevents-batch+json"
_JSON = "application/json"


class PartnerReplay(Replay):
    """Makes the partner with a fresh key and links everybody, then sends their days."""

    def __init__(self, api: Api, zone: ZoneInfo, progress: Callable[[date, int], None]) -> None:
        """As any replay."""
        super().__init__(api, zone, progress)
        self._key: SigningKey | None = None

    async def meet(self, subjects: Sequence[str]) -> None:
        """Get everybody's token and their consent. Raises ApiError."""
        await super().meet(subjects)
        await self._open_partner()
        await all_of(self._link(subject) for subject in subjects)

    async def report(self, day: date, report: Report) -> None:
        """Send the day in signed batches, one after the other: limits and overlap go by order."""
        for post in report.posts:
            answer = await self._deliver("events", post.body, _BATCH)
            self.answered(day, report, post, answer)

    async def _open_partner(self) -> None:
        """The partner may be there from an earlier run; its key of then is not known any more."""
        order = {"subject": _OPERATOR, "role": "operator"}
        token = (await self.api.post("/v1/dev/token", order))["access_token"]
        path = f"/v1/operator/partners/{PARTNER_ID}"
        known = await self.api.send("GET", path, token=token)
        if known.status_code == httpx.codes.NOT_FOUND:
            partner = {
                "id": PARTNER_ID,
                "name": "Replayed bikes",
                "action_types": [PARTNER_TYPE],
                "source_prefix": PARTNER_SOURCE,
            }
            await self.api.post("/v1/operator/partners", partner, token)
        else:
            for key in members_of(known)["keys"]:
                if key["state"] != "revoked":
                    await self.api.post(f"{path}/keys/{key['key_id']}/revoke", token=token)
        made = await self.api.post(f"{path}/keys", {"kind": "hmac"}, token)
        self._key = signing_key(made["secret"])

    async def _link(self, subject: str) -> None:
        order = {"partner_id": PARTNER_ID}
        code = await self.api.post("/v1/me/links", order, self.tokens[subject])
        consent = {"link_code": code["link_code"], "subject": subject}
        await self._deliver("links", msgspec.json.encode(consent), _JSON)

    async def _deliver(self, what: str, body: bytes, media_type: str) -> dict[str, Any]:
        """A signed POST. Raises ApiError."""
        assert self._key is not None
        message_id = "replay_" + hashlib.sha256(body).hexdigest()[:32]
        headers = self._key.headers(message_id, body, Clock().real_now())
        return members_of(
            await self.api.send(
                "POST",
                f"/v1/partners/{PARTNER_ID}/{what}",
                content=body,
                headers={**headers, "Content-Type": media_type},
            )
        )
