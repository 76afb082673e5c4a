# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the watched lab's monitoring costs, and how that grows with the hosts.

The growth is that of one Prometheus on this machine with the role's rules. It reads the pages that the lab's exporters
tell, once for each host, from a server on loopback; the counters stand still there, which costs the same to read.
"""

from __future__ import annotations

import contextlib
import http.server
import os
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from ansible_collections.evenkeel.platform.benchmarks import log_rig, panels, rig
from ansible_collections.evenkeel.platform.benchmarks.figures.logs import memory_bytes, processor_seconds
from ansible_collections.evenkeel.platform.benchmarks.result import Measured, NotMeasured

HOSTS = (1, 5, 20)
# As the role has it by default.
INTERVAL_SECONDS = 15
GROWTH_SECONDS = 240
SAMPLES, PAUSE_SECONDS = 6, 10
MEBI = 2**20
# Name, resident kilobytes and ticks of the cores of each part on the host that watches.
SET = r"""
python3 - <<'EOF'
import json, pathlib, re, subprocess
def out(*words):
    return subprocess.run(words, capture_output=True, text=True, check=True).stdout
ids = out("docker", "ps", "--quiet", "--filter", "label=com.docker.compose.project=monitoring").split()
pids = {one["Name"].strip("/"): one["State"]["Pid"] for one in json.loads(out("docker", "inspect", *ids))}
for unit in ("prometheus-node-exporter", "otelcol"):
    pids[unit] = int(out("systemctl", "show", "--property", "MainPID", "--value", unit))
for name, pid in pids.items():
    folder = pathlib.Path("/proc", str(pid))
    ticks = (folder / "stat").read_text().rpartition(")")[2].split()[11:13]
    print(name, re.search(r"VmRSS:\s+(\d+)", (folder / "status").read_text())[1], *ticks)
EOF
"""
DISK = "cd /var/lib/docker/volumes && for one in monitoring_*; do du -sm $one | sed 's/monitoring_//'; done"
PAGES = {"node": 9100, "edge": 8405}


def of_the_set() -> dict[str, tuple[int, float]]:
    """Resident bytes and seconds of the cores so far of each part on the host that watches."""
    (text,) = rig.on_hosts(panels.HOST, SET, 120).values()
    found = {}
    for line in text.splitlines():
        name, kilobytes, user, system = line.split()
        found[name] = (int(kilobytes) * 1024, (int(user) + int(system)) / os.sysconf("SC_CLK_TCK"))
    return found


def measured_set() -> dict[str, Any]:
    """The whole set on one host, over a minute."""
    first, began, most = of_the_set(), panels.clock(), dict[str, int]()
    for _sample in range(SAMPLES):
        time.sleep(PAUSE_SECONDS)
        last = of_the_set()
        for name, (size, _ticks) in last.items():
            most[name] = max(most.get(name, 0), size)
    seconds = panels.clock() - began
    (text,) = rig.on_hosts(panels.HOST, DISK).values()
    disk = [line.split() for line in text.splitlines()]
    used = {name: (last[name][1] - first[name][1]) / seconds for name in last if name in first}
    return {
        "parts": {
            name: {"memory_mebibytes": round(most[name] / MEBI, 1), "cores": round(used.get(name, 0), 4)}
            for name in sorted(most)
        },
        "memory_mebibytes": round(sum(most.values()) / MEBI, 1),
        "disk_mebibytes": {name: float(size) for size, name in disk},
        "cores": round(sum(used.values()), 3),
    }


@contextlib.contextmanager
def served(pages: dict[str, bytes]) -> Iterator[int]:
    """The pages on a port of loopback: /<host>/<job> is the job's."""

    class Page(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = pages[self.path.rpartition("/")[2]]
            self.send_response(200)
            self.send_header("Content-Type", "text/plain; version=0.0.4")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_words: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Page)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield int(server.server_address[1])
    finally:
        server.shutdown()
        server.server_close()


def settings(folder: Path, port: int, hosts: int) -> Path:
    """Prometheus for so many hosts, with every rule of the role."""
    rules = sorted(str(path) for path in rig.ROOT.glob("roles/*/files/rules/*.yml"))
    jobs = [
        {
            "job_name": job,
            "metrics_path": f"/{number}/{job}",
            "static_configs": [{"targets": [f"127.0.0.1:{port}"], "labels": {"instance": f"host{number}"}}],
        }
        for number in range(hosts)
        for job in PAGES
    ]
    # The same job on every host, which Prometheus wants to be called differently.
    for number, one in enumerate(jobs):
        one["relabel_configs"] = [{"target_label": "job", "replacement": str(one["job_name"])}]
        one["job_name"] = f"{one['job_name']}-{number}"
    path = folder / "prometheus.yml"
    path.write_text(
        yaml.safe_dump(
            {
                "global": {"scrape_interval": f"{INTERVAL_SECONDS}s", "evaluation_interval": f"{INTERVAL_SECONDS}s"},
                "rule_files": rules,
                "scrape_configs": jobs,
            }
        ),
        encoding="utf-8",
    )
    return path


def grown(folder: Path, program: str, port: int, hosts: int) -> dict[str, Any]:
    """One Prometheus over some minutes."""
    folder.mkdir()
    own = log_rig.free_port()
    url = f"http://127.0.0.1:{own}"
    words = [
        program,
        f"--config.file={settings(folder, port, hosts)}",
        f"--storage.tsdb.path={folder / 'data'}",
        f"--web.listen-address=127.0.0.1:{own}",
        "--log.level=error",
    ]
    prometheus = log_rig.Program(words, folder / "prometheus.log", f"{url}/-/ready")
    prometheus.start()
    try:
        time.sleep(2 * INTERVAL_SECONDS)
        before, began = processor_seconds(prometheus.process), time.monotonic()
        time.sleep(GROWTH_SECONDS)
        seconds = time.monotonic() - began
        used = (processor_seconds(prometheus.process) - before) / seconds
        return {
            "series": round(series_of(url)),
            "memory_mebibytes": round(memory_bytes(prometheus.process) / MEBI, 1),
            "cores": round(used, 4),
        }
    finally:
        prometheus.stop(signal.SIGTERM)


def series_of(url: str) -> float:
    """Series in memory, by its own page."""
    lines = log_rig.get(f"{url}/metrics")[1].splitlines()
    return next((float(line.split()[1]) for line in lines if line.startswith("prometheus_tsdb_head_series ")), 0.0)


def monitoring_cost(folder: Path) -> Measured:
    program = shutil.which("prometheus")
    if not program:
        raise NotMeasured("prometheus is not installed: make setup brings it")
    pages = {}
    for job, port in PAGES.items():
        hosts = rig.on_hosts(
            "edge", f"curl -sf http://$(hostname -I | cut -d' ' -f1):{port}/metrics | gzip | base64 -w0"
        )
        (text,) = hosts.values()
        pages[job] = subprocess.run(
            ["sh", "-c", "base64 -d | gzip -d"], input=text.encode(), capture_output=True, check=True
        ).stdout
        if not pages[job]:
            raise NotMeasured("the lab is not watched: make watch-lab")
    whole = measured_set()
    with served(pages) as port:
        growth = {str(hosts): grown(folder / f"hosts{hosts}", program, port, hosts) for hosts in HOSTS}
    one, twenty = growth[str(HOSTS[0])], growth[str(HOSTS[-1])]
    return Measured(
        results={
            "whole_set_on_one_host": whole,
            "hosts_watched": 4,
            "growth_by_hosts": growth,
            "memory_for_20_hosts_to_that_for_1": round(twenty["memory_mebibytes"] / one["memory_mebibytes"], 2),
        },
        bar=[{"of": "results.whole_set_on_one_host.memory_mebibytes", "at_most": 1024}],
    )
