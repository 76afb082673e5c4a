# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Options of an edge that cannot be realised are named, and those beside them are not."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from ansible_collections.evenkeel.platform.plugins.filter.edge import edge_certificates, edge_problems

DEFAULTS = yaml.safe_load(
    (Path(__file__).resolve().parents[4] / "roles/edge/defaults/main.yml").read_text(encoding="utf-8")
)
HOST = {"name": "edge1", "family": "Debian", "distribution": "Debian", "private": "192.0.2.11", "peers": ["192.0.2.12"]}
FILES = {"name": "a", "names": ["a.test"], "mode": "files", "certificate": "PEM", "private_key": "PEM"}
SITE = {"name": "watch", "hosts": ["w.test"], "servers": [{"address": "192.0.2.41", "port": 3000}], "own_login": True}
FLOATING = {"edge_floating_address": "192.0.2.80/24"}


@pytest.mark.parametrize(
    ("options", "host", "sentences"),
    [
        ({}, {}, []),
        ({}, {"family": "RedHat", "distribution": "AlmaLinux"}, ["found AlmaLinux, need Debian"]),
        ({}, {"private": ""}, ["private address on edge1: found none"]),
        ({"edge_http_port": 8081}, {}, ["found 8081, 443, 8081, 8405, need four different"]),
        ({"edge_public_addresses": []}, {}, ["public addresses on edge1: found none"]),
        ({"edge_certificates": [FILES]}, {}, []),
        ({"edge_certificates": [{**FILES, "name": "../a"}]}, {}, ["certificate ../a on edge1: found this name"]),
        ({"edge_certificates": [FILES, FILES]}, {}, ["certificate a on edge1: found it twice"]),
        ({"edge_certificates": [{**FILES, "names": []}]}, {}, ["found no public name"]),
        ({"edge_certificates": [{**FILES, "private_key": ""}]}, {}, ["without certificate and private_key"]),
        ({"edge_certificates": [{**FILES, "mode": "acme"}]}, {}, []),
        ({"edge_certificates": [{**FILES, "mode": "acme", "names": ["*.a.test"]}]}, {}, ["mode acme for *.a.test"]),
        ({"edge_certificates": [{**FILES, "mode": "acme", "names": ["192.0.2.1"]}]}, {}, ["mode acme for 192.0.2.1"]),
        ({"edge_sites": [SITE]}, {}, []),
        ({"edge_sites": [{**SITE, "own_login": False}]}, {}, ["found nobody who may log in"]),
        ({"edge_sites": [{**SITE, "users": [{"name": "ann", "hash": "$6$x"}]}]}, {}, []),
        ({"edge_sites": [{**SITE, "users": [{"name": "ann", "hash": "x"}]}]}, {}, ["no hash for user ann"]),
        ({"edge_sites": [SITE, {**SITE, "name": "other"}]}, {}, ["found w.test, which site watch has"]),
        ({"edge_client_address_from": "proxy_protocol"}, {}, ["trusted proxies on edge1: found none"]),
        ({"edge_client_address_from": "proxy_protocol", "edge_trusted_proxies": ["192.0.2.0/24"]}, {}, []),
        ({"edge_rate_limit": {"requests": -1, "period_seconds": 10}}, {}, ["found -1 requests in 10 s"]),
        ({"edge_request_header_bytes_max": 4096}, {}, []),
        ({"edge_request_header_bytes_max": 4095}, {}, ["found 4095, need 4096 to 262144"]),
        ({"edge_request_header_bytes_max": 262145}, {}, ["found 262145, need 4096 to 262144"]),
        ({"edge_removed_request_headers": ["X-Tenant", "X-Tenant-*", "X_a.b~1"]}, {}, []),
        ({"edge_removed_request_headers": ["X-*-Id", "X Tenant", ""]}, {}, ["'X-*-Id'", "'X Tenant'", "found ''"]),
        (FLOATING, {}, []),
        (FLOATING, {"peers": []}, ["found no other edge"]),
        (FLOATING, {"peers": ["2001:db8::2"]}, ["of two families"]),
        ({**FLOATING, "edge_public_addresses": ["192.0.2.11"]}, {}, ["need 0.0.0.0 among them"]),
        ({**FLOATING, "edge_floating_router_id": 0}, {}, ["found router id 0 and priority 100"]),
    ],
)
def test_each_problem_is_one_sentence(options, host, sentences):
    found = edge_problems({**DEFAULTS, **options}, {**HOST, **host})
    assert len(found) == len(sentences), found
    for sentence, one in zip(sentences, found, strict=True):
        assert one.startswith("edge: ")
        assert " on edge1: found " in one
        assert sentence in one


def test_rules_of_the_firewall_are_judged_where_there_is_one():
    rules = [{"name": "x", "ports": ["http"]}]
    assert "edge: rule x of edge_internal_ranges: found port 'http'" in edge_problems(DEFAULTS, HOST, rules)[0]
    assert edge_problems({**DEFAULTS, "edge_firewall_enabled": False}, HOST, rules) == []


@pytest.mark.parametrize(
    ("given", "mode", "names", "expected"),
    [
        ([FILES], "acme", ["a.test"], [FILES]),
        ([], "self_signed", ["a.test", "b.test", "a.test"], ["a.test", "b.test"]),
        ([], "acme", ["a.test"], ["a.test"]),
        ([], "acme", [], ["edge1"]),
    ],
    ids=["given", "names of all apps", "acme by one line", "no app yet"],
)
def test_certificate_without_any_setting_is_for_the_names_of_the_apps(
    given: list, mode: str, names: list[str], expected: list
) -> None:
    made = edge_certificates(given, mode, names, "edge1")
    if given:
        assert made == expected
    else:
        wanted = mode if names else "self_signed"
        assert made == [{"name": "default", "names": expected, "mode": wanted}]


def test_certificate_that_acme_cannot_issue_is_refused_where_it_is_made_of_the_apps() -> None:
    host = {**HOST, "certificates": edge_certificates([], "acme", ["192.0.2.1"], "edge1")}
    [found] = edge_problems({**DEFAULTS, "edge_certificate_mode": "acme"}, host)
    assert "mode acme for 192.0.2.1" in found
