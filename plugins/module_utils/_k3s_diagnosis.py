# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to the collection: may change in any release without notice.
"""Why a node does not get ready, in one sentence, from what k3s logs and what a few probes find."""

from __future__ import annotations

import re
import typing as t

CLOCK_SECONDS = 30
REJOIN = (
    "Put the token of the cluster back in the folder of k3s_cluster_secrets_folder, or uninstall this node and join "
    "it anew"
)


class Cause(t.NamedTuple):
    """A cause: what is wrong, what was found, what is needed and what to do; *final* where waiting cannot help."""

    what: str
    found: str
    need: str
    advice: str
    final: bool = True


# In the order in which they are looked for: a cause hides those that follow from it.
LOGGED: tuple[tuple[re.Pattern[str], Cause], ...] = (
    (
        re.compile(r"Node password rejected|duplicate node name found"),
        Cause(
            "node name",
            "another node of this name, or a machine that was set up anew under the name of its former self",
            "a name of its own",
            "Set k3s_cluster_node_name, or remove the old one with kubectl delete node",
        ),
    ),
    (
        re.compile(r"encrypted with different token|CA hash does not match|invalid token|[Nn]ot authorized|401 Unauth"),
        Cause("token", "one that the cluster refuses", "that of the cluster", REJOIN),
    ),
    (
        re.compile(r"critical configuration value mismatch(?: between servers)?"),
        Cause(
            "configuration",
            "values that differ from those of the other servers",
            "the same network, datastore and encryption on each",
            "Set the options for the group of servers and not for one host",
        ),
    ),
    (
        re.compile(r"certificate has expired or is not yet valid|current time \S+ is (?:before|after)"),
        Cause(
            "clock",
            "a time at which the certificate of the cluster is not valid",
            f"clocks at most {CLOCK_SECONDS} s apart",
            "Set up time synchronisation on every node",
        ),
    ),
    (
        re.compile(r"flag provided but not defined: -+(?P<detail>\S+)|invalid value .* for flag -+(?P<other>\S+)"),
        Cause("key", "one that this version does not take", "a key of k3s --help", "Set k3s_cluster_extra_config"),
    ),
    (
        re.compile(r"failed to find (?P<detail>[\w-]+)\b|exec: \"(?P<other>[\w./-]+)\": executable file not found"),
        Cause("program", "none", "it, for k3s runs it", "Install the package that has the program"),
    ),
    (
        re.compile(r"address already in use|bind: (?:permission denied|cannot assign requested address)"),
        Cause("port", "another program on a port of k3s", "it free", "Stop what ss -ltnp shows"),
    ),
    (
        re.compile(r"invalid kernel flag|[Ff]ailed to start ContainerManager|[Rr]ead-only file"),
        Cause(
            "kernel settings",
            "values that the kubelet cannot change",
            "those of the profile, set before k3s starts",
            "Set them with sysctl on the host",
            final=False,
        ),
    ),
    (
        re.compile(r"no space left on device"),
        Cause("disk", "it full", "free space below /var/lib/rancher", "Free space"),
    ),
)


# What a part of k3s, or k3s itself, says last. Where none of the above is in the log, it is the cause.
ENDED = re.compile(r"(?P<part>[a-z-]+) exited: (?P<why>[^\"\\]+)|level=fatal msg=\"(?P<last>(?:[^\"\\]|\\.)+)")


def of_end(lines: t.Iterable[str]) -> Cause | None:
    """Return the cause that k3s gives for its end."""
    for line in reversed(list(lines)):
        match = ENDED.search(line)
        if match:
            return Cause(
                match["part"] or "k3s",
                f"its end by {(match['why'] or match['last']).strip()[:300]!r}",
                "it running",
                "Set the option that it names, for example in k3s_cluster_extra_config",
            )
    return None


def of_log(lines: t.Iterable[str]) -> tuple[Cause, str] | None:
    """Return the first cause of the table that a line of the log names, with the line."""
    text = list(lines)
    for pattern, cause in LOGGED:
        for line in text:
            match = pattern.search(line)
            if match:
                names = match.groupdict()
                detail = names.get("detail") or names.get("other") or ""
                return (cause._replace(what=f"{cause.what} {detail}") if detail else cause), line
    return None


def of_port(server: str, error: str) -> Cause | None:
    """Return the cause where the port of a server does not answer; *error* is empty where it does."""
    if not error:
        return None
    return Cause(
        f"connection to {server}",
        error,
        "the API of a server there",
        "Start the server, or open the port between the nodes",
        final=False,
    )


def of_clock(server: str, apart_seconds: float) -> Cause | None:
    """Return the cause where a server's clock and this one are too far apart."""
    if abs(apart_seconds) <= CLOCK_SECONDS:
        return None
    return Cause(
        "clock",
        f"it {abs(apart_seconds):.0f} s {'ahead of' if apart_seconds > 0 else 'behind'} that of {server}",
        f"at most {CLOCK_SECONDS} s",
        "Set up time synchronisation on every node",
    )


def of_node(message: str) -> Cause | None:
    """Return the cause that the condition Ready of a node names."""
    if re.search(r"NetworkPluginNotReady|cni (?:config|plugin)|NetworkReady=false", message):
        return Cause(
            "container network",
            message.partition("message:")[2].strip(' ."') or message,
            "a network plugin that is set up",
            "Set k3s_cluster_flannel_backend, or install the plugin where it is none",
            final=False,
        )
    return None


def of_skew(own: str, server: str) -> Cause | None:
    """Return the cause where a node is newer than the API it registers at; *own* and *server* are versions."""
    numbers = [[int(word) for word in re.findall(r"\d+", text)[:2]] for text in (own, server)]
    if not all(len(each) == 2 for each in numbers) or (numbers[0] <= numbers[1] and numbers[1][1] - numbers[0][1] <= 3):
        return None
    return Cause(
        "version",
        f"{own} beside a server of {server}",
        "an agent no newer than the servers and at most three minor releases older",
        "Set one k3s_cluster_version for all, and servers before agents",
    )


def sentence(cause: Cause, name: str) -> str:
    return f"k3s_cluster: {cause.what} on {name}: found {cause.found}, need {cause.need}. {cause.advice}."
