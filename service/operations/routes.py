"""Health, metrics, and the description of the interface with a page to browse it."""

from pathlib import Path
from typing import Literal

from litestar import Response
from msgspec import Struct

from service.http.access import Request, get
from service.http.answer import JsonAnswer
from service.http.public_answer import public_answer
from service.http.shared import shared
from service.operations.readiness import PartState, is_ready, outbox_waiting, part_states
from service.platform.errors import NotFoundError, UnavailableError
from service.platform.metrics import OUTBOX_WAITING, exposition
from service.platform.setting_texts import is_loopback
from service.platform.settings import Settings

_FOLDER = Path(__file__).parent
_PAGE = (_FOLDER / "schema.html").read_bytes()
_SCRIPT = (_FOLDER / "schema.js").read_bytes()
_STYLE = (_FOLDER / "schema.css").read_bytes()
_PAGE_HEADERS = (
    (b"content-security-policy", b"default-src 'self'; frame-ancestors 'none'; base-uri 'none'"),
    (b"referrer-policy", b"no-referrer"),
    (b"vary", b"Accept"),
)


class Health(Struct, frozen=True):
    """That the process answers, and in what state the parts are that it needs."""

    status: Literal["live", "ready"]
    parts: dict[str, PartState] = {}


class NotReadyError(UnavailableError):
    """Something is missing that requests need."""

    text = "Not ready: {lacking}."
    members = ("parts",)
    lacking: str
    parts: dict[str, PartState]


@get("/health/live", "public")
async def get_liveness() -> Health:
    """The process answers."""
    return Health("live")


@get("/health/ready", "public")
async def get_readiness(request: Request) -> Health:
    """Requests can be served: database migrated, rules active, demo data there if it is wanted."""
    states = await part_states(request)
    if not is_ready(states):
        lacking = ", ".join(name for name, state in states.items() if state != "ok")
        raise NotReadyError(lacking, states)
    return Health("ready", states)


@get("/metrics", "public", answer=str)
async def get_metrics(request: Request) -> Response[bytes]:
    """Figures for Prometheus; to this machine only, unless a setting opens them."""
    if not shared(request, Settings).metrics_public:
        client = request.scope.get("client")
        # Behind a proxy on this machine everybody would look local.
        is_forwarded = "x-forwarded-for" in request.headers or "forwarded" in request.headers
        if is_forwarded or (client is not None and not is_loopback(client[0])):
            raise NotFoundError
    waiting = await outbox_waiting(request)
    if waiting is not None:
        OUTBOX_WAITING.set(waiting)
    return Response(exposition(), media_type="text/plain; version=0.0.4")


@get("/schema", "public", answer=dict, is_kept=True)
async def get_schema(request: Request) -> JsonAnswer:
    """This description; as a page for a browser."""
    if "text/html" in request.headers.get("accept", ""):
        return _asset(request, _PAGE, b"text/html; charset=utf-8")
    return _asset(request, _document(request), b"application/json")


@get("/schema/openapi.json", "public", answer=dict, is_kept=True)
async def get_openapi(request: Request) -> JsonAnswer:
    """This description."""
    return _asset(request, _document(request), b"application/json")


@get(["/schema/page.js", "/schema/page.css"], "public", include_in_schema=False)
async def get_page_part(request: Request) -> JsonAnswer:
    """What makes the page of the description, and how it looks."""
    if request.scope["path"].endswith(".js"):
        return _asset(request, _SCRIPT, b"text/javascript; charset=utf-8")
    return _asset(request, _STYLE, b"text/css; charset=utf-8")


def _document(request: Request) -> bytes:
    state = request.app.state
    if "openapi" not in state:
        state.openapi = state.openapi_text(request.app)
    document: bytes = state.openapi
    return document


def _asset(request: Request, content: bytes, media_type: bytes) -> JsonAnswer:
    return public_answer(request, content, headers=_PAGE_HEADERS, media_type=media_type)
