"""Sends events without a pause until a file says stop, as a client with a bad line does: what was not acknowledged
is sent again, the same events with the same ids. Writes down each id that was acknowledged.

usage: load.py SERVICE KEY CERTIFICATE ACKNOWLEDGED STOP
"""

import http.client
import json
import os
import ssl
import sys
import time
import urllib.error
import urllib.request
import uuid

service, key, certificate, acknowledged, stop = sys.argv[1:]
tls = ssl.create_default_context(cafile=certificate)


def send(body: bytes) -> bool:
    request = urllib.request.Request(service + "/api/v1/events/batch", body, {"X-API-Key": key})
    try:
        with urllib.request.urlopen(request, timeout=5, context=tls) as answer:
            return answer.status == 202 and len(json.load(answer)["event_ids"]) == 10
    # Refused, timed out, cut off, or told to come back later.
    except (OSError, http.client.HTTPException, ValueError):
        return False


with open(acknowledged, "w") as log:
    while not os.path.exists(stop):
        ids = [str(uuid.uuid4()) for _ in range(10)]
        events = [
            {"event_id": id, "event_type": "page_view", "device_id": f"device-{id[0]}", "page_url": "https://shop.example/"}
            for id in ids
        ]
        while not send(json.dumps({"events": events}).encode()):
            time.sleep(0.2)
        print(*ids, sep="\n", file=log, flush=True)
        # The point is to be interrupted, not to be fast.
        time.sleep(0.05)
