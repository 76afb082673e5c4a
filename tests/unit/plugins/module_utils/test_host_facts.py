# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Facts come from files of the kernel and the distribution, and a host without some of them has facts still."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from ansible_collections.evenkeel.platform.plugins.module_utils import _host_facts
from ansible_collections.evenkeel.platform.plugins.plugin_utils._checks import NO_FACTS


def planted(root: Path, files: dict[str, str]) -> Path:
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content, encoding="utf-8")
    return root


def nothing(argv):
    return 127, "", "no such program"


@pytest.mark.parametrize(
    ("content", "wanted"),
    [
        ('ID=debian\nVERSION_ID="13"\nVERSION_CODENAME=trixie\n', ("Debian", "13", "Debian")),
        ('ID=ubuntu\nID_LIKE=debian\nVERSION_ID="24.04"\n', ("Ubuntu", "24.04", "Debian")),
        ('ID="almalinux"\nID_LIKE="rhel centos fedora"\nVERSION_ID="9.4"\n', ("Almalinux", "9.4", "Almalinux")),
        ("", ("unknown", "", "")),
    ],
)
def test_the_distribution(content, wanted, tmp_path):
    found = _host_facts.operating_system(planted(tmp_path, {"etc/os-release": content}))
    assert (found["distribution"], found["version"], found["family"]) == wanted


TRIE = """Main:
  +-- 0.0.0.0/0 3 0 5
     |-- 127.0.0.1
        /32 host LOCAL
     |-- 192.0.2.0
        /24 link UNICAST
     |-- 192.0.2.21
        /32 host LOCAL
     |-- 192.0.2.255
        /32 link BROADCAST
"""
INET6 = "20010db8000400000000000000000021 02 40 00 80 eth0\n00000000000000000000000000000001 01 80 10 80 lo\n"


def test_addresses_without_loopback_and_broadcast(tmp_path):
    root = planted(tmp_path, {"proc/net/fib_trie": TRIE, "proc/net/if_inet6": INET6})
    assert _host_facts.addresses(root) == ["192.0.2.21", "2001:db8:4::21"]
    assert _host_facts.addresses(tmp_path / "nothing") == []


HEAD = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"
ROW = "   0: {local} 00000000:0000 {state} 00000000:00000000 00:00000000 00000000     0        0 {inode} 1\n"


def test_listening_ports_with_their_programs(tmp_path):
    tcp = (
        HEAD
        + ROW.format(local="150200C0:0050", state="0A", inode=11)
        + ROW.format(local="150200C0:C000", state="01", inode=12)
    )
    tcp6 = HEAD + ROW.format(local="0" * 32 + ":01BB", state="0A", inode=13)
    udp = HEAD + ROW.format(local="00000000:0035", state="07", inode=14)
    root = planted(
        tmp_path, {"proc/net/tcp": tcp, "proc/net/tcp6": tcp6, "proc/net/udp": udp, "proc/812/comm": "nginx\n"}
    )
    (root / "proc/812/fd").mkdir()
    (root / "proc/812/fd/6").symlink_to("socket:[11]")
    assert [
        (one["protocol"], one["address"], one["port"], one["program"], one["pid"])
        for one in _host_facts.listening(root)
    ] == [
        ("tcp", "192.0.2.21", 80, "nginx", 812),
        ("tcp", "::", 443, "", 0),
        ("udp", "0.0.0.0", 53, "", 0),
    ]


PS = "web\t0.0.0.0:8080->80/tcp, [::]:8080->80/tcp\ndns\t192.0.2.21:53->53/udp, 9000/tcp, 0.0.0.0:90-92->90-92/tcp\n"


@pytest.mark.parametrize(
    ("protocol", "address", "port", "program", "container"),
    [
        ("tcp", "0.0.0.0", 8080, "docker-proxy", "web"),
        ("tcp", "::", 8080, "docker-proxy", "web"),
        ("udp", "192.0.2.21", 53, "docker-proxy", "dns"),
        ("tcp", "0.0.0.0", 91, "docker-proxy", "dns"),
        ("tcp", "0.0.0.0", 9000, "docker-proxy", ""),
        ("tcp", "0.0.0.0", 8080, "nginx", ""),
    ],
)
def test_the_container_behind_a_port_is_asked_of_docker(protocol, address, port, program, container):
    asked = []

    def docker(argv):
        asked.append(argv)
        return 0, PS, ""

    one = {"protocol": protocol, "address": address, "port": port, "program": program, "pid": 7}
    assert _host_facts.with_containers([one], docker)[0].get("container", "") == container
    assert _host_facts.with_containers([one], nothing) == [one]
    assert bool(asked) == (program == "docker-proxy")


def test_the_public_names_of_every_app_of_an_edge(tmp_path):
    root = planted(
        tmp_path,
        {
            "var/lib/evenkeel/shop/edge.json": '{"app": "shop", "hosts": ["shop.test"]}',
            "var/lib/evenkeel/blog/edge.json": "{",
        },
    )
    assert _host_facts.public_names(root) == {"shop": ["shop.test"]}


def test_a_real_port_is_seen_with_the_program_that_holds_it():
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        found = [one for one in _host_facts.listening(Path("/")) if one["port"] == port]
    assert [(one["address"], one["pid"]) for one in found] == [("127.0.0.1", os.getpid())]


SOURCES = (
    "Types: deb\nURIs: https://download.docker.com/linux/debian\nSuites: trixie\nSigned-By: /etc/apt/keyrings/d.asc\n"
)


def test_apt_sources_of_both_forms(tmp_path):
    root = planted(
        tmp_path,
        {
            "etc/apt/sources.list": "# deb http://old.example x main\ndeb http://deb.example/debian trixie main\n",
            "etc/apt/sources.list.d/docker.list": "deb [arch=amd64 signed-by=/k.gpg] https://d.example/linux x stable\n",
            "etc/apt/sources.list.d/docker.sources": SOURCES,
            "etc/apt/sources.list.d/off.sources": SOURCES + "Enabled: no\n",
            "etc/apt/sources.list.d/docker.list.save": "deb https://kept.example x stable\n",
        },
    )
    assert [path.rpartition("/")[2] for path in _host_facts.apt_sources(root)] == [
        "sources.list",
        "docker.list",
        "docker.sources",
        "off.sources",
    ]
    assert _host_facts.apt_sources(root)["/etc/apt/sources.list.d/docker.sources"] == SOURCES


@pytest.mark.parametrize(
    ("content", "wanted"),
    [
        (None, None),
        ("", None),
        ("{", None),
        ("[]", None),
        (
            '{"proxies": {"https-proxy": "http://ann:s3cret@p"}, "data-root": "/srv"}',
            {"proxies": {"https-proxy": "http://p"}, "data-root": "/srv"},
        ),
    ],
)
def test_settings_of_the_engine_and_no_secret_of_it(content, wanted, tmp_path):
    root = planted(tmp_path, {} if content is None else {"etc/docker/daemon.json": content})
    assert _host_facts.parsed(root / "etc/docker/daemon.json") == wanted


@pytest.mark.parametrize(
    ("ufw", "code", "wanted"), [("ENABLED=yes\n", 3, ["ufw"]), ("ENABLED=no\n", 0, ["firewalld"]), ("", 127, [])]
)
def test_firewalls_that_are_on(ufw, code, wanted, tmp_path):
    root = planted(tmp_path, {"etc/ufw/ufw.conf": ufw})
    assert _host_facts.firewalls(root, lambda argv: (code, "", "")) == wanted


def test_calendars_that_systemd_refuses():
    def run(argv):
        assert argv[:3] == ["systemd-analyze", "calendar", "--"]
        good = argv[3] == "daily"
        return (
            (0, "", "") if good else (1, "", f"Failed to parse calendar specification '{argv[3]}': Invalid argument\n")
        )

    assert _host_facts.refused_calendars(["daily", "0 3 * * *", "daily"], run) == {"0 3 * * *": "Invalid argument"}
    assert _host_facts.refused_calendars(["0 3 * * *"], nothing) == {}


def test_the_connection_is_found_above_sudo(tmp_path):
    root = planted(
        tmp_path,
        {
            "proc/30/environ": "HOME=/root\0",
            "proc/30/status": "Name:\tpython3\nPPid:\t20\n",
            "proc/20/environ": "SSH_CONNECTION=192.0.2.9 5000 192.0.2.21 22\0LANG=C\0",
            "proc/20/status": "PPid:\t1\n",
        },
    )
    assert _host_facts.connection(root, 30) == "192.0.2.9 5000 192.0.2.21 22"
    assert _host_facts.connection(root, 40) == ""


ROUTES = """Iface Destination Gateway Flags RefCnt Use Metric Mask MTU Window IRTT
eth0 00000000 010200C0 0003 0 0 0 00000000 0 0 0
eth0 000200C0 00000000 0001 0 0 0 00FFFFFF 0 0 0
docker0 000011AC 00000000 0001 0 0 0 0000FFFF 0 0 0
"""


def test_routes_of_the_host_and_not_of_the_engine(tmp_path):
    root = planted(tmp_path, {"proc/net/route": ROUTES})
    assert _host_facts.gateways(root) == ["eth0"]
    assert _host_facts.networks(root) == ["192.0.2.0/255.255.255.0"]


def test_a_bare_host_has_every_fact(tmp_path):
    (tmp_path / "proc").mkdir()
    found = _host_facts.gather(tmp_path, nothing, ["/var/lib"], ["daily"])
    # The module adds what the engine says of images.
    assert set(NO_FACTS) - {"images_missing"} <= set(found)
    assert found["versions"] == {"docker": "", "compose": "", "haproxy": ""}
    assert found["disks"]["/var/lib"]["size_bytes"] >= found["disks"]["/var/lib"]["free_bytes"] > 0
