# SPDX-License-Identifier: GPL-3.0-or-later
"""Properties of the lab that other tests depend on.

Skipped, with the reason, while the lab is down.
"""

from __future__ import annotations

import json
import os
import socket
import ssl
import subprocess
import sys
import urllib.error
import urllib.request
from base64 import b64encode
from pathlib import Path

import pytest
import testinfra
from testinfra.host import Host

ROOT = Path(__file__).resolve().parents[2]
LAB_ID = int(os.environ.get("EVENKEEL_LAB_ID") or 0)
NAME = f"evenkeel-lab{LAB_ID or ''}"
STATE = ROOT / ".cache" / f"lab{LAB_ID or ''}"
SHIFT = 100 * LAB_ID
NETWORK = f"10.231.{LAB_ID}"
NETWORK6 = f"fd23:1:{LAB_ID + 1:x}::"
MACHINES = {"edge1": 11, "app1": 21, "app2": 22, "data1": 31}
DOCKER = "/usr/bin/docker" if Path("/usr/bin/docker").exists() else "docker"


def run(*argv: str) -> subprocess.CompletedProcess[str]:
    """Run a command on the controller."""
    return subprocess.run(argv, capture_output=True, text=True, check=False, cwd=ROOT)


def why_down() -> str:
    """Return why the lab cannot be tested, empty if it can."""
    if not (STATE / "known_hosts").exists():
        return f"{STATE} is not there"
    answer = run(DOCKER, "ps", "--filter", f"label=org.evenkeel.lab={NAME}", "--format", "{{.Names}}")
    if answer.returncode:
        return f"Docker does not answer: {answer.stderr.strip()}"
    missing = {f"{NAME}-{name}" for name in (*MACHINES, "registry", "store")} - set(answer.stdout.split())
    return f"not running: {', '.join(sorted(missing))}" if missing else ""


DOWN = why_down()
pytestmark = pytest.mark.skipif(bool(DOWN), reason=f"the lab is down ({DOWN}); run `make lab`")


def ssh(target: str, port: int, command: str, jump: str = "") -> subprocess.CompletedProcess[str]:
    """Run a command on a machine by SSH, with the lab's key and known hosts only."""
    options = [
        *("-F", "none", "-i", str(STATE / "id_ed25519"), "-o", "IdentitiesOnly=yes", "-o", "BatchMode=yes"),
        *("-o", f"UserKnownHostsFile={STATE / 'known_hosts'}", "-o", "StrictHostKeyChecking=yes"),
        *("-o", "GlobalKnownHostsFile=/dev/null", "-o", "ConnectTimeout=5"),
    ]
    through = ["-o", f"ProxyCommand=ssh {' '.join(options)} -W %h:%p -p {jump} ops@127.0.0.1"] if jump else []
    return run("ssh", *options, *through, "-p", str(port), f"ops@{target}", command)


@pytest.fixture(params=MACHINES)
def machine(request: pytest.FixtureRequest) -> Host:
    """Return each machine in turn, as root."""
    return testinfra.get_host(f"docker://{NAME}-{request.param}")


def test_systemd_runs_without_a_failed_unit(machine: Host) -> None:
    failed = machine.check_output("systemctl --failed --no-legend --plain")
    assert (machine.run("systemctl is-system-running").stdout.strip(), failed) == ("running", "")


@pytest.mark.parametrize("port", [2211, 2221, 2222])
def test_ssh_answers_with_a_known_key_and_sudo_wants_a_password(port: int) -> None:
    login = ssh("127.0.0.1", port + SHIFT, "id -un")
    assert login.stdout.strip() == "ops", login.stderr
    assert "password is required" in ssh("127.0.0.1", port + SHIFT, "sudo -k; sudo -n true").stderr
    password = (STATE / "sudo_password").read_text(encoding="utf-8").strip()
    asked = ssh("127.0.0.1", port + SHIFT, f"sudo -k; echo {password} | sudo -S -p '' id -un")
    assert asked.stdout.strip() == "root", asked.stderr


def test_data1_is_reached_through_the_jump_host_only() -> None:
    ports = json.loads(run(DOCKER, "inspect", "--format", "{{json .HostConfig.PortBindings}}", f"{NAME}-data1").stdout)
    assert not ports
    address = f"{NETWORK}.{MACHINES['data1']}"
    through = ssh(address, 22, "hostname", jump=str(2211 + SHIFT))
    assert through.stdout.strip() == "data1", through.stderr


def test_inventory_reaches_every_machine() -> None:
    answer = run(
        *(str(Path(sys.executable).parent / "ansible"), "-i", "inventories/lab", "machines", "-b"),
        *("-m", "ansible.builtin.command", "-a", "id -un", "--one-line"),
    )
    assert answer.stdout.count("(stdout) root") == len(MACHINES), answer.stdout + answer.stderr


def test_no_machine_has_a_way_out() -> None:
    answer = run(sys.executable, "lab/guard.py", "isolation", *(f"{NAME}-{name}" for name in MACHINES))
    assert (answer.returncode, answer.stdout) == (0, ""), answer.stderr


def test_guard_sees_a_way_out_where_there_is_one() -> None:
    """Control: only the package cache reaches the internet."""
    answer = run(DOCKER, "inspect", "--format", "{{json .NetworkSettings.Networks}}", "evenkeel-lab-packages")
    assert "bridge" in json.loads(answer.stdout)
    assert run(sys.executable, "lab/guard.py", "isolation", "evenkeel-lab-packages").returncode == 1


@pytest.mark.parametrize("key", ["vm/swappiness", "kernel/panic", "fs/file-max"])
def test_settings_of_the_machine_are_out_of_reach(machine: Host, key: str) -> None:
    before = Path("/proc/sys", key).read_text(encoding="utf-8")
    assert machine.run(f"cat /proc/sys/{key} > /proc/sys/{key}").rc != 0
    assert Path("/proc/sys", key).read_text(encoding="utf-8") == before


def test_machine_is_as_it_was_before_the_lab() -> None:
    answer = run(sys.executable, "lab/guard.py", "compare", str(STATE / "guard.json"))
    assert (answer.returncode, answer.stdout) == (0, ""), answer.stderr


def test_packages_come_through_the_cache(machine: Host) -> None:
    answer = machine.run("apt-get install --download-only --reinstall -y hostname")
    assert answer.rc == 0, answer.stderr
    assert f"{NETWORK}.4:3142" in machine.check_output("apt-config dump Acquire::http::Proxy")


def test_machines_know_each_other_by_name(machine: Host) -> None:
    for name, number in {**MACHINES, "registry.lab": 5, "store.lab": 6}.items():
        assert machine.check_output(f"getent ahostsv4 {name}").split()[0] == f"{NETWORK}.{number}"
    for number in (*MACHINES.values(), 5, 6):
        assert machine.run(f"ping -6 -c 1 -W 2 {NETWORK6}{number}").rc == 0


@pytest.mark.parametrize(("login", "status"), [("", 401), ("lab:wrong", 401), ("lab:right", 200)])
def test_registry_asks_for_a_login(login: str, status: int) -> None:
    login = login.replace("right", (STATE / "registry" / "password").read_text(encoding="utf-8").strip())
    headers = {"Authorization": f"Basic {b64encode(login.encode()).decode()}"} if login else {}
    question = urllib.request.Request(f"https://127.0.0.1:{5001 + SHIFT}/v2/", headers=headers)
    trust = ssl.create_default_context(cafile=str(STATE / "ca" / "ca.crt"))
    try:
        with urllib.request.urlopen(question, context=trust, timeout=10) as answer:
            seen = answer.status
    except urllib.error.HTTPError as error:
        seen = error.code
    assert seen == status


def test_machines_trust_the_registry(machine: Host) -> None:
    answer = machine.run("curl -sS -o /dev/null -w '%{http_code}' https://registry.lab:5000/v2/")
    assert answer.stdout == "401", answer.stderr


def test_machines_trust_the_object_store_and_it_wants_credentials(machine: Host) -> None:
    answer = machine.run("curl -sS -o /dev/null -w '%{http_code}' https://store.lab:7070/healthz")
    assert answer.stdout == "200", answer.stderr
    answer = machine.run("curl -sS -o /dev/null -w '%{http_code}' https://store.lab:7070/backups")
    assert answer.stdout == "403", answer.stderr


def test_ports_are_open_on_loopback_only() -> None:
    names = [f"{NAME}-{name}" for name in (*MACHINES, "registry", "store")]
    answer = run(DOCKER, "inspect", "--format", "{{json .NetworkSettings.Ports}}", *names)
    bound = [
        (place["HostIp"], int(place["HostPort"]))
        for line in answer.stdout.splitlines()
        for places in json.loads(line).values()
        for place in places or []
    ]
    assert {ip for ip, _port in bound} == {"127.0.0.1"}
    assert {port - SHIFT for _ip, port in bound} == {2211, 2221, 2222, 5001, 8080, 8443}
    own = run("hostname", "-I").stdout.split()
    for address in (ip for ip in own if ":" not in ip and not ip.startswith(("127.", "10.231.", "10.232."))):
        for _ip, port in bound:
            with socket.socket() as probe:
                probe.settimeout(1)
                assert probe.connect_ex((address, port)) != 0, f"{address}:{port} answers"


def test_secrets_are_for_their_owner_alone() -> None:
    files = [path for path in STATE.rglob("*") if path.is_file() and path.name != "guard.json"]
    loose = [str(path) for path in files if path.stat().st_mode & 0o077]
    assert not loose
