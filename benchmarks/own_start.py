#!/usr/bin/env python3
# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""On an app host: restart the containers of an idle colour, and print the seconds until each gives a good answer.

Usage: own_start.py <compose project> <health path>; a service without that path is asked for /healthz.
"""

import json
import subprocess
import sys
import time
import urllib.error
import urllib.request


def docker(*arguments: str) -> str:
    return subprocess.run(["docker", *arguments], capture_output=True, text=True, check=True).stdout


def well(url: str) -> "bool | None":
    """Return whether the answer is good; None if the path does not exist."""
    try:
        with urllib.request.urlopen(url, timeout=1) as answer:
            return answer.status == 200
    except urllib.error.HTTPError as exc:
        return None if exc.code == 404 else False
    except OSError:
        return False


def main(project: str, path: str) -> None:
    ids = docker("ps", "--all", "--quiet", "--filter", "label=com.docker.compose.project=" + project).split()
    if not ids:
        sys.exit("own_start: containers of " + project + ": found none, need an idle colour that is still there.")
    docker("stop", "--time", "15", *ids)
    began = time.monotonic()
    docker("start", *ids)
    urls = []
    for container in json.loads(docker("inspect", *ids)):
        for bindings in container["NetworkSettings"]["Ports"].values():
            for binding in bindings or []:
                urls.append("http://{HostIp}:{HostPort}".format(**binding))
    pending = dict.fromkeys(urls, path)
    while pending and time.monotonic() < began + 60:
        for url, asked in list(pending.items()):
            answer = well(url + asked)
            if answer:
                del pending[url]
            elif answer is None:
                pending[url] = "/healthz"
        time.sleep(0.02)
    if pending:
        sys.exit("own_start: " + ", ".join(pending) + ": found no good answer within 60 s.")
    print(round(time.monotonic() - began, 3))


if __name__ == "__main__":
    main(*sys.argv[1:])
