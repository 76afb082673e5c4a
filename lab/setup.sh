#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
# Brings a Debian machine to the point where the checkout can be worked with:
# the distribution's packages, a virtual environment with the pinned tools, and
# a running Docker. Does only what is missing; a second run takes a moment.
set -euo pipefail
cd "$(dirname "$0")/.."
cache=$PWD/.cache
export PATH=$PATH:/usr/sbin:/sbin:/usr/local/go/bin
mkdir -p "$cache"

say() { printf 'setup: %s\n' "$*"; }
die() { printf 'setup: %s\n' "$*" >&2; exit 1; }

as_root() {
    if [[ $EUID == 0 ]]; then
        "$@"
    elif command -v sudo >/dev/null; then
        sudo "$@"
    else
        die "root is needed for: $*. Run it yourself or install sudo."
    fi
}

# Debian's own client goes before any other that stands earlier on PATH.
docker() {
    if [[ -x /usr/bin/docker ]]; then /usr/bin/docker "$@"; else command docker "$@"; fi
}

engine_answers() { docker version >/dev/null 2>&1; }

# What is needed, as "command:package". haproxy checks configurations, go builds the programs of the lab. With the word
# `tests` also what tests and figures run on this machine itself: promtool on rules, backups of a server of their own.
packages() {
    local pair missing=() wanted=(git:git make:make openssl:openssl curl:curl ssh:openssh-client
        haproxy:haproxy mmdebstrap:mmdebstrap go:golang-go)
    if [[ ${1:-} == tests ]]; then
        wanted+=(pg_createcluster:postgresql pgbackrest:pgbackrest restic:restic rclone:rclone faketime:faketime
            promtool:prometheus)
    fi
    for pair in "${wanted[@]}"; do
        command -v "${pair%%:*}" >/dev/null || missing+=("${pair#*:}")
    done
    # Another engine than Debian's serves as well.
    if ! engine_answers && ! command -v dockerd >/dev/null; then
        missing+=(docker.io)
    fi
    [[ -n $(newest_python) ]] || missing+=(python3-venv)
    [[ ${#missing[@]} -gt 0 ]] || return 0
    command -v apt-get >/dev/null ||
        die "this machine has no apt: install ${missing[*]} by its own means, then run setup again."
    say "installing ${missing[*]}"
    install_packages "${missing[@]}"
}

# Installs without starting anything. On a machine with systemd Docker is the
# exception: there it is meant to run as a service.
install_packages() {
    local policy=/usr/sbin/policy-rc.d ours=0 status=0 allowed=none unit
    local wanted=("$@")
    as_root apt-get update -qq
    # Debian 13 keeps Docker's client in a package of its own.
    if [[ " $* " == *" docker.io "* ]] && apt-cache show docker-cli >/dev/null 2>&1; then
        wanted+=(docker-cli)
    fi
    if [[ ! -e $policy ]]; then
        if [[ -d /run/systemd/system ]]; then allowed='docker|containerd'; fi
        printf '#!/bin/sh\n# Written by setup of Evenkeel while it installs.\ncase $1 in %s) exit 0 ;; esac\nexit 101\n' \
            "$allowed" | as_root tee "$policy" >/dev/null
        as_root chmod 0755 "$policy"
        ours=1
    fi
    as_root env DEBIAN_FRONTEND=noninteractive \
        apt-get install -y -qq --no-install-recommends "${wanted[@]}" >"$cache/apt.log" 2>&1 || status=$?
    if [[ $ours == 1 ]]; then as_root rm -f "$policy"; fi
    if [[ $status != 0 ]]; then
        tail -20 "$cache/apt.log" >&2
        die "apt failed, see .cache/apt.log."
    fi
    for unit in haproxy postgresql prometheus; do
        if [[ " $* " == *" $unit "* && -d /run/systemd/system ]]; then
            as_root systemctl disable --now --quiet "$unit.service"
        fi
    done
}

# The newest supported Python that can make virtual environments.
newest_python() {
    local version candidate
    for version in 3.13 3.12 3.11; do
        for candidate in "$(command -v "python$version" || true)" \
            "$HOME"/.pyenv/versions/"$version"*/bin/python /usr/bin/python3; do
            [[ -x $candidate ]] || continue
            # A shim may stand for a version that is not switched on.
            if "$candidate" -c "import ensurepip, sys; sys.exit('%d.%d' % sys.version_info[:2] != '$version')" \
                2>/dev/null; then
                echo "$candidate"
                return
            fi
        done
    done
}

tools() {
    local stamp=$cache/venv/.stamp wanted python
    # The stamp also names the place: a virtual environment cannot be moved.
    wanted=$(printf '%s\n' "$PWD" | cat - requirements.txt | sha256sum | cut -d' ' -f1)
    if [[ -f $stamp && $(<"$stamp") == "$wanted" && -x $cache/venv/bin/ansible-playbook ]]; then
        return
    fi
    # The old one goes first: make has it on PATH, and it would be found as the Python to make the new one with.
    rm -rf "$cache/venv"
    python=$(newest_python)
    [[ -n $python ]] || die "no Python 3.11, 3.12 or 3.13 with venv was found. Install one of them."
    say "making .cache/venv with $("$python" --version) (this takes some minutes once)"
    "$python" -m venv "$cache/venv"
    "$cache/venv/bin/pip" install --quiet --require-hashes --requirement requirements.txt
    printf '%s\n' "$wanted" >"$stamp"
}

engine() {
    local waited
    if engine_answers; then
        return
    fi
    if [[ -S /var/run/docker.sock && $EUID != 0 && ! -w /var/run/docker.sock ]]; then
        die "Docker runs, but $(id -un) may not speak to it. Add yourself: sudo adduser $(id -un) docker, then log in again."
    fi
    if [[ -d /run/systemd/system ]]; then
        as_root systemctl start docker.service
    else
        share_of_containers
        say "starting dockerd in the background, log in .cache/dockerd.log"
        # A new session, so that it outlives this script and its terminal.
        as_root setsid "$(command -v dockerd)" --pidfile "$cache/dockerd.pid" \
            >"$cache/dockerd.log" 2>&1 </dev/null &
    fi
    for ((waited = 0; waited < 120; waited++)); do
        if engine_answers; then
            return
        fi
        sleep 0.5
    done
    die "Docker did not answer within 60 s. See .cache/dockerd.log or journalctl -u docker."
}

# On control groups of version 1 all containers together weigh as much as one
# process of the machine. Machines that run a platform need more than that.
share_of_containers() {
    local group=/sys/fs/cgroup/cpu/docker
    [[ -e /sys/fs/cgroup/cpu/cpu.shares ]] || return 0
    as_root mkdir -p "$group"
    echo 8192 | as_root tee "$group/cpu.shares" >/dev/null
}

# What tests and figures run that is no package, once a version and machine: never within a run that has hosts as well.
programs() {
    [[ ${1:-} == tests ]] || return 0
    "$cache/venv/bin/python" lab/build_programs.py otelcol pebble versitygw victoria-logs
}

packages "${1:-}"
tools
programs "${1:-}"
engine
