# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to the collection: may change in any release without notice.
"""Reasons why the options of the edge role cannot be realised, one sentence each."""

from __future__ import annotations

import re
import typing as t

Options = t.Mapping[str, t.Any]

CERTIFICATE_NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9._-]*")
SITE_NAME = re.compile(r"[a-z][a-z0-9-]*")
NO_ACME = re.compile(r"\*|[0-9.]+$|.*:")
HASH = re.compile(r"[$](5|6|2[aby]|y)[$]")
# The name of a header, or its beginning and a *.
HEADER = re.compile(r"[A-Za-z0-9!#$%&'+.^_|~-]+[*]?")
HEADER_BYTES = (4096, 262144)
ADDRESS = re.compile(r"([0-9]{1,3}([.][0-9]{1,3}){3}|[0-9a-fA-F:]*:[0-9a-fA-F:.]*)(/[0-9]{1,3})?")
PORTS = ("edge_http_port", "edge_https_port", "edge_preview_port", "edge_status_port")
Found = t.Iterator[tuple[str, str, str, str]]


def certificates(given: t.Sequence[Options], mode: str, names: t.Iterable[str], fallback: str) -> list[Options]:
    """Return the certificates of an edge: those given, else one for all names that it serves.

    It is one for all, so that its file is there before an app comes that no run of the role has seen yet.
    """
    if given:
        return list(given)
    found = list(dict.fromkeys(str(name) for name in names if name))
    # Without a public name there is nothing that an authority could confirm.
    return [{"name": "default", "names": found or [fallback], "mode": mode if found else "self_signed"}]


def problems(options: Options, host: t.Mapping[str, t.Any]) -> list[str]:
    """Return one sentence for each problem of one edge.

    *options* are the role's with their full names; *host* has ``name``, ``family`` and ``distribution`` of its system,
    ``private`` address, the ``peers``' private addresses, and the ``certificates`` that are made of the options.
    """
    found = [
        *_host(options, host),
        *_certificates(host.get("certificates") or options["edge_certificates"]),
        *_sites(options["edge_sites"]),
        *_clients(options),
        *_requests(options),
        *(_floating(options, host) if options["edge_floating_address"] else []),
    ]
    sentences = [
        f"edge: {what} on {host['name']}: found {value}, need {need}. {advice}." for what, value, need, advice in found
    ]
    return list(dict.fromkeys(sentences))


def _host(options: Options, host: t.Mapping[str, t.Any]) -> Found:
    if host.get("family") not in ("Debian", None):
        yield (
            "distribution",
            str(host.get("distribution") or "another one"),
            "Debian or one of its family",
            "Use such a host as an edge",
        )
    if not host.get("private"):
        yield (
            "private address",
            "none",
            "one for preview, status and metrics",
            "Set platform_address in the inventory, or edge_private_address",
        )
    ports = [int(options[name]) for name in PORTS]
    if len(set(ports)) < len(ports):
        yield "ports", ", ".join(map(str, ports)), "four different ones", "Set " + " or ".join(PORTS)
    if not options["edge_public_addresses"]:
        yield "public addresses", "none", "at least one", "Set edge_public_addresses"


def _certificates(certificates: t.Sequence[Options]) -> Found:
    names = [one["name"] for one in certificates]
    for one in certificates:
        what, advice = f"certificate {one['name']}", "in edge_certificates"
        if not CERTIFICATE_NAME.fullmatch(str(one["name"])):
            yield what, "this name", "one of letters, digits, ., _ and - for its file", f"Set name {advice}"
        if names.count(one["name"]) > 1:
            yield what, "it twice", "it once", f"Set another name {advice}"
        if not one["names"]:
            yield what, "no public name", "at least one", f"Set names {advice}"
        if one["mode"] == "files" and not (one.get("certificate") and one.get("private_key")):
            yield what, "mode files without certificate and private_key", "both in PEM", f"Set them {advice}"
        if one["mode"] == "acme" and any(NO_ACME.match(str(name)) for name in one["names"]):
            yield (
                what,
                f"mode acme for {', '.join(one['names'])}",
                "names without * and no addresses",
                "Use mode files for it",
            )


def _sites(sites: t.Sequence[Options]) -> Found:
    names = [one["name"] for one in sites]
    for number, one in enumerate(sites):
        what = f"site {one['name']}"
        if not SITE_NAME.fullmatch(str(one["name"])):
            yield what, "this name", "one of small letters, digits and -", "Set name in edge_sites"
        if names.count(one["name"]) > 1:
            yield what, "it twice", "it once", "Set another name in edge_sites"
        if not one["hosts"] or not one["servers"]:
            yield (
                what,
                f"{len(one['hosts'])} public names and {len(one['servers'])} servers",
                "one of each at least",
                "Set hosts and servers in edge_sites",
            )
        if not one.get("users") and not one.get("own_login"):
            yield (
                what,
                "nobody who may log in",
                "a user",
                "Set users in edge_sites, or own_login where the program itself asks for a login",
            )
        for user in one.get("users") or []:
            if not HASH.match(str(user["hash"])):
                yield (
                    what,
                    f"no hash for user {user['name']}",
                    "one as openssl passwd -6 makes it",
                    "Set hash in edge_sites",
                )
        for other in sites[:number]:
            shared = [host for host in other["hosts"] if host in one["hosts"]]
            if shared:
                yield what, f"{', '.join(shared)}, which site {other['name']} has", "it once", "Set hosts in edge_sites"


def _clients(options: Options) -> Found:
    if options["edge_client_address_from"] == "proxy_protocol" and not options["edge_trusted_proxies"]:
        yield (
            "trusted proxies",
            "none",
            "their ranges for the PROXY protocol",
            "Set edge_trusted_proxies, or edge_client_address_from to header",
        )
    rate = options["edge_rate_limit"]
    if int(rate["period_seconds"]) < 1 or int(rate["requests"]) < 0:
        yield (
            "rate limit",
            f"{rate['requests']} requests in {rate['period_seconds']} s",
            "none or more in 1 s or more",
            "Set edge_rate_limit",
        )


def _requests(options: Options) -> Found:
    size, (least, most) = int(options["edge_request_header_bytes_max"]), HEADER_BYTES
    if not least <= size <= most:
        yield "request header bytes", str(size), f"{least} to {most}", "Set edge_request_header_bytes_max"
    for name in options["edge_removed_request_headers"]:
        if not HEADER.fullmatch(str(name)):
            yield (
                "removed request header",
                repr(str(name)),
                "the name of a header, with * at its end only",
                "Set edge_removed_request_headers",
            )


def _floating(options: Options, host: t.Mapping[str, t.Any]) -> Found:
    what, address, peers = "floating address", str(options["edge_floating_address"]), list(host.get("peers") or [])
    families = [address, str(host.get("private") or ""), *peers]
    advice = "Set edge_floating_address"
    if not ADDRESS.fullmatch(address):
        yield what, address, "an address such as 192.0.2.80/24", advice
    elif not peers:
        yield (
            what,
            "no other edge",
            f"one with a platform_address in group {options['edge_group']}",
            "Add it to the inventory, or leave edge_floating_address empty",
        )
    elif len({":" in one for one in families}) > 1:
        need = "one family"
        yield what, f"it and the private addresses of the edges ({', '.join(families)}) of two families", need, advice
    every = "::" if ":" in address else "0.0.0.0"  # noqa: S104 - what the user has to bind, not what we do
    public = options["edge_public_addresses"]
    if every not in public:
        yield (
            what,
            f"public addresses {', '.join(public)}",
            f"{every} among them, for the edge does not always hold it",
            "Set edge_public_addresses",
        )
    router, priority = int(options["edge_floating_router_id"]), int(options["edge_floating_priority"])
    if not 1 <= router <= 255 or not 1 <= priority <= 254:
        yield (
            what,
            f"router id {router} and priority {priority}",
            "1 to 255 and 1 to 254",
            "Set edge_floating_router_id and edge_floating_priority",
        )
