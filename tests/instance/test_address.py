"""Where the API listens: what is told when it cannot."""

import socket

import pytest

from service.instance.address import AddressError, find_port_free
from service.platform.settings import load_settings


async def test_an_address_of_another_machine_is_not_called_a_port_in_use(monkeypatch):
    monkeypatch.setenv("SAXAUL_HOST", "192.0.2.1")
    monkeypatch.setattr(socket, "create_connection", lambda *_, **__: socket.socket())
    with pytest.raises(AddressError, match=r"cannot listen on 192\.0\.2\.1:"):
        await find_port_free(load_settings())
