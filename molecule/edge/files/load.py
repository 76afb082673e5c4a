#!/usr/bin/python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""A small load on the edge: load.py <seconds> <requests a second>. Open loop, no retry.

Half of the requests come on kept connections, half on new ones; every third is
a POST. Prints what was not answered 200, each with its reason.
"""

import http.client
import json
import ssl
import sys
import threading
import time

SECONDS, RATE = float(sys.argv[1]), float(sys.argv[2])
WORKERS = 8
context = ssl._create_unverified_context()
results = {"ok": 0, "failed": 0, "reasons": {}, "releases": {}}
lock = threading.Lock()


def connection() -> http.client.HTTPSConnection:
    return http.client.HTTPSConnection("127.0.0.1", 443, timeout=5, context=context)


def client(number: int) -> None:
    kept = connection() if number % 2 else None
    start = time.monotonic() + number / RATE
    count = 0
    while (due := start + count * WORKERS / RATE) < start + SECONDS:
        time.sleep(max(0, due - time.monotonic()))
        link = kept or connection()
        try:
            if count % 3:
                link.request("GET", "/api/load", headers={"Host": "shop.lab.test"})
            else:
                link.request("POST", "/api/load", body=b"load", headers={"Host": "shop.lab.test"})
            answer = link.getresponse()
            body = answer.read()
            reason = None if answer.status == 200 else str(answer.status)
            release = json.loads(body)["release"] if reason is None else ""
        except (OSError, http.client.HTTPException, ValueError) as exc:
            reason, release = repr(exc), ""
            if kept:
                kept = connection()
        if not kept:
            link.close()
        with lock:
            if reason is None:
                results["ok"] += 1
                results["releases"][release] = results["releases"].get(release, 0) + 1
            else:
                results["failed"] += 1
                results["reasons"][reason] = results["reasons"].get(reason, 0) + 1
        count += 1


threads = [threading.Thread(target=client, args=(number,)) for number in range(WORKERS)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
print(json.dumps(results))
