"""Who signed a request: checked in the order of the cheapest, nothing parsed before the signature.

Media type 415, size 413, headers 400, time 401, signature 401. An unknown partner, a disabled one
and a wrong signature get the same answer for the same effort.
"""

from datetime import UTC, datetime

from msgspec import Struct

from service.http.access import Access, Request, UnsupportedMediaTypeError, media_type
from service.http.decode import NoFields, read_query
from service.http.edge import limit_address, limit_partner
from service.http.shared import shared
from service.partners.keys import Partner, PartnerKeys, SignatureRefusedError
from service.partners.signature import Stamp, read_stamp
from service.platform.clock import Clock
from service.platform.errors import SaxaulError
from service.platform.settings import Settings


class SignatureTimeError(SignatureRefusedError):
    """The signature is of another time than ours."""

    text = "webhook-timestamp is more than {tolerance_s} s from our time, {now:%FT%TZ}."
    now: datetime
    tolerance_s: int


class Signed(Struct, frozen=True):
    """A request that a partner signed."""

    partner: Partner
    stamp: Stamp
    body: bytes
    media: str


async def signed(request: Request, partner_id: str) -> Signed:
    """The request with whoever signed it.

    Raises UnsupportedMediaTypeError, BodyTooLargeError, HeaderError,
    SignatureRefusedError, RateLimitedError, and InvalidRequestError for a query that nobody reads.
    """
    try:
        sent = await _checked(request, partner_id)
    except SaxaulError as error:
        # Whoever did not sign is a stranger, whichever check it was that failed.
        if error.status < 500:
            await limit_address(request)
        raise
    await limit_partner(request, sent.partner.id)
    access: Access = request.route_handler.opt["access"]
    if access.query is None and request.scope["query_string"]:
        read_query(request, NoFields)
    return sent


async def _checked(request: Request, partner_id: str) -> Signed:
    media = _media(request)
    body = await request.body()
    stamp = read_stamp(request.scope["headers"])
    now = shared(request, Clock).real_now()
    tolerance_s = shared(request, Settings).signature_tolerance_s
    if abs(now.timestamp() - stamp.timestamp) > tolerance_s:
        raise SignatureTimeError(now.astimezone(UTC), tolerance_s)
    partner = await shared(request, PartnerKeys).verify(partner_id, stamp, body)
    return Signed(partner, stamp, body, media)


def _media(request: Request) -> str:
    """The type of the body. Raises UnsupportedMediaTypeError.

    CloudEvents' binary mode is refused, too: its ce- headers are not covered by the signature, so
    that anybody on the way could change them.
    """
    access: Access = request.route_handler.opt["access"]
    headers = request.scope["headers"]
    types = [value for name, value in headers if name == b"content-type"]
    if len(types) > 1 or any(name.startswith(b"ce-") for name, _ in headers):
        raise UnsupportedMediaTypeError(" or ".join(access.media))
    return media_type(types[0]) if types else ""
