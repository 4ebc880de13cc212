"""Every operation of the contract is either served or listed as a gap, which says so."""

from tests.contract.conformance import operations
from tests.contract.conftest import shared
from yaml import safe_load

from tutti.http.gaps import gaps

OPERATIONS = 99
MOST_GAPS = 69
"""Only ever lowered."""


async def test_gaps_and_routes_together_are_the_contract(openapi):
    listed = [f"{method} {path}" for method, path in gaps()]
    served = set(operations(openapi))
    assert len(set(listed)) == len(listed) <= MOST_GAPS
    assert served.isdisjoint(listed)
    contract = set(operations(safe_load(shared("spec/openapi.yaml"))))
    assert len(contract) == OPERATIONS
    assert {*listed} <= contract
    assert contract - {*listed} <= served


async def test_a_gap_answers_501_in_the_shape_of_an_error(client):
    for method, path in gaps():
        url = "/v1" + path.replace("{", "").replace("}", "")
        async with client.request(method, url, json={}) as response:
            assert response.status == 501, (method, path)
            assert response.headers["x-should-retry"] == "false"
            assert (await response.json())["error"]["type"] == "not_implemented_error"
