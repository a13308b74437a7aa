"""A partner of a running instance, its keys, and two people who are linked: rider-1, rider-2.

The second one rides by the guide's blocks alone, so that no limit of a day is in their way.
"""

import httpx
import msgspec

from kit.partner.keys import signing_key
from kit.partner.signing import read_private_key
from kit.partner.vectors import PRIVATE_KEY
from service.partners.signature import public_text
from service.platform.clock import Clock

PARTNER, SOURCE = "demo-city-bikes", "urn:demo:city-bikes"


class City:
    """What partners' clients are tested against."""

    def __init__(self, url):
        self.client = httpx.Client(base_url=url, timeout=30, trust_env=False)
        self.url = url
        self.operator = self.token("demo-operator", "operator")
        self.rider = self.token("rider-1", "participant")
        self.reader = self.token("rider-2", "participant")
        self.secret = ""

    def token(self, subject, role):
        answer = self.client.post("/v1/dev/token", json={"subject": subject, "role": role})
        return answer.raise_for_status().json()["access_token"]

    def post(self, path, token, body):
        headers = {"Authorization": f"Bearer {token}"}
        answer = self.client.post(path, json=body, headers=headers)
        assert answer.is_success, answer.text
        return answer.json()

    def get(self, path, token):
        answer = self.client.get(path, headers={"Authorization": f"Bearer {token}"})
        assert answer.is_success, answer.text
        return answer.json()

    def deliver(self, what, body, media_type, key=None):
        """A signed POST."""
        content = msgspec.json.encode(body)
        headers = (key or signing_key(self.secret)).headers("msg-1", content, Clock().real_now())
        return self.client.post(
            f"/v1/partners/{PARTNER}/{what}",
            content=content,
            headers={**headers, "Content-Type": media_type},
        )

    def actions(self, token=None):
        items, cursor = [], ""
        while cursor is not None:
            path = f"/v1/me/actions?limit=200{cursor and '&cursor='}{cursor}"
            page = self.get(path, token or self.rider)
            items, cursor = items + page["items"], page["next_cursor"]
        return items


def found(url):
    """Make the partner and link both."""
    city = City(url)
    order = {
        "id": PARTNER,
        "name": "City bikes",
        "action_types": ["mobility.shared_bike", "transit.metro_trip"],
        "source_prefix": SOURCE,
    }
    city.post("/v1/operator/partners", city.operator, order)
    path = f"/v1/operator/partners/{PARTNER}/keys"
    city.secret = city.post(path, city.operator, {"kind": "hmac"})["secret"]
    public = read_private_key(PRIVATE_KEY).public_key().public_bytes_raw()
    key = {"kind": "ed25519", "public_key": public_text(public)}
    city.post(path, city.operator, key)
    for subject, token in (("rider-1", city.rider), ("rider-2", city.reader)):
        code = city.post("/v1/me/links", token, {"partner_id": PARTNER})["link_code"]
        answer = city.deliver("links", {"link_code": code, "subject": subject}, "application/json")
        assert answer.status_code == 201, answer.text
    return city
