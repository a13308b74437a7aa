"""A running instance with a partner."""

import pytest

from tests.instance import Instance
from tests.partner_kit.city import found


@pytest.fixture(scope="module")
def instance(tmp_path_factory):
    started = Instance(tmp_path_factory.mktemp("partners") / "state")
    started.start()
    yield started
    started.end()


@pytest.fixture(scope="module")
def city(instance):
    partner = found(instance.url)
    yield partner
    partner.client.close()
