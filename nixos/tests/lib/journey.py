# What the tests of data safety say to the service: a key, events in, a journey out. Read into their test scripts.
# A machine is of any type: its class has another name in newer releases of the test driver.
import json
from typing import Any

SERVICE = "http://127.0.0.1:8030"


def new_key(machine: Any, kind: str, *scopes: str) -> str:
    """Makes an API key on a machine that runs the service."""
    options = "".join(f" --scope {scope}" for scope in scopes)
    return json.loads(machine.succeed(f"customer-journey keys create --kind {kind} --name test --json{options}"))["key"]


def curl(key: str, address: str) -> str:
    """Returns a command line that fails when the answer is not 2xx, and then shows it."""
    return f"curl --silent --show-error --fail-with-body --max-time 20 --header 'X-API-Key: {key}' '{address}'"


def get(machine: Any, key: str, path: str, service: str = SERVICE) -> Any:
    return json.loads(machine.succeed(curl(key, service + path)))


def post(machine: Any, key: str, events: list[dict[str, Any]], service: str = SERVICE) -> list[str]:
    """Sends events and returns the ids they were acknowledged under."""
    body = json.dumps({"events": events}).replace("'", "'\\''")
    answer = json.loads(machine.succeed(f"{curl(key, service + '/api/v1/events/batch')} --data '{body}'"))
    assert answer["accepted"] == len(events), answer
    return answer["event_ids"]


def stored_ids(machine: Any, key: str, service: str = SERVICE) -> list[str]:
    """Returns the id of every stored event, read over the API."""
    lines = machine.succeed(curl(key, service + "/api/v1/events?format=ndjson"))
    return [json.loads(line)["event_id"] for line in lines.splitlines()]


def settle(machine: Any, key: str, service: str = SERVICE) -> dict[str, Any]:
    """Waits until nothing is queued; returns the ledger's balance, which must be even."""

    def is_settled(_: bool) -> bool:
        status, text = machine.execute(curl(key, service + "/api/v1/ledger/balance"))
        return status == 0 and json.loads(text)["total"]["queued"] == 0

    retry(is_settled, 300)
    balance = get(machine, key, "/api/v1/ledger/balance", service)
    assert balance["difference"] == 0 and balance["entries_missing"] == 0 and balance["lost_queues"] == [], balance
    return balance["total"]


def hold_writers(machine: Any) -> None:
    """Keeps what arrives in the queue until the unit `hold` stops, by a lock that lets readers pass."""
    psql = "psql -X -At -d customer_journey"
    machine.succeed(
        f"systemd-run --unit=hold --property=User=postgres --property=Type=exec {psql}"
        # Or the server would sleep on without its client.
        " -c \"SET client_connection_check_interval = '1s'\""
        " -c 'BEGIN; LOCK TABLE event_keys IN SHARE ROW EXCLUSIVE MODE' -c 'SELECT pg_sleep(3600)'"
    )
    granted = "SELECT 1 FROM pg_locks WHERE granted AND mode = 'ShareRowExclusiveLock' AND relation = 'event_keys'::regclass"
    machine.wait_until_succeeds(f"sudo -u postgres {psql} -c \"{granted}\" | grep 1")


def shop_visit(device: str) -> list[dict[str, Any]]:
    """Returns one person's visit: from a newsletter to an order, in four events."""
    page = "https://shop.example/tents"
    return [
        {"event_type": "page_view", "device_id": device, "page_url": page + "?utm_source=news&utm_medium=email", "seq": 1},
        {"event_type": "add_to_cart", "device_id": device, "product_id": "tent-2", "cart_total": "289.00", "seq": 2},
        {"event_type": "identify", "device_id": device, "user_id": f"user-of-{device}",
         "customer_attributes": {"plan": "pro"}, "seq": 3},
        {"event_type": "purchase", "device_id": device, "order_id": f"order-of-{device}", "order_total": "289.00",
         "currency": "EUR", "seq": 4},
    ]


