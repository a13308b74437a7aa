"""A plot on the equator: a zero is a zero, whatever sign it was sent with."""

import pytest

from tests.planting.test_routes import PROJECT

POINT = {"type": "Point", "coordinates": [36.8, -0.0]}
RING = [[-0.0, 0.0], [1.0, -0.0], [1.0, -1e-7], [1e-320, -1e-7], [-0.0, 0.0]]


@pytest.mark.parametrize("position", [POINT, {"type": "Polygon", "coordinates": [RING]}])
async def test_a_plot_on_the_equator_keeps_the_log_whole(sign_in, operator, position):
    project = (await operator.post("/v1/operator/projects", PROJECT)).json()["id"]
    plot = {"name": "equator", "position": position, "area_m2": 900}
    made = await operator.post(f"/v1/operator/projects/{project}/plots", plot)
    assert made.status_code == 201, made.text
    auditor = await sign_in("olga", "operator", scope="audit:read")
    told = (await auditor.post("/v1/operator/ledger/audit", {"mode": "full"})).json()
    assert (told["clean"], told["differences"], told.get("notes", {})) == (True, [], {})
