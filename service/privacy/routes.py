"""What is held about me, and being forgotten, over HTTP."""

from litestar.response import Stream

from service.http.access import Request, caller, delete, get
from service.http.auth import Authenticator
from service.http.shared import shared
from service.ledger.lanes import Lanes
from service.platform.clock import Clock
from service.platform.database import Database
from service.privacy.erase import erase_participant
from service.privacy.export import export_participant


@get("/v1/me/export", "participant", answer=dict)
async def export_me(request: Request) -> Stream:
    """Everything held about me, as one JSON document: a list of rows for each kind of thing."""
    pieces = await export_participant(
        shared(request, Database), caller(request).participant_id, shared(request, Clock).now()
    )
    headers = {"Content-Disposition": 'attachment; filename="saxaul-export.json"'}
    return Stream(pieces, media_type="application/json", headers=headers)


@delete("/v1/me", "participant")
async def erase_me(request: Request) -> None:
    """Forget me: identity, name and attributes go, the ledger keeps a nameless book."""
    participant_id = caller(request).participant_id
    await erase_participant(shared(request, Lanes), participant_id)
    # The word of it reaches this process in a moment; the next request may come before.
    shared(request, Authenticator).drop(participant_id)
