async def test_an_event_is_recorded_once(metro, alice):
    event = metro.event("card-1")
    first = await metro.send_one(event)
    assert first["status"] == "accepted"
    assert first["energy_g"] == 52
    again = await metro.send_one(event)
    assert again == first | {"status": "duplicate"}
    assert (await alice.balances())["ripening_g"] == 52
