# SPDX-License-Identifier: GPL-3.0-or-later
"""What clients, operators and attackers see of an edge."""

from __future__ import annotations

import functools
import json
import shlex
import time
import typing as t

import pytest

testinfra_hosts = ["ansible://edge"]

LIVE = "/var/lib/evenkeel/shop/live.map"
STATUS = "/var/lib/evenkeel/shop/status.map"
MAINTENANCE = "/var/lib/evenkeel/shop/maintenance.map"


class Answer(t.NamedTuple):
    status: int
    headers: dict[str, str]
    body: str

    @property
    def json(self) -> dict[str, t.Any]:
        return json.loads(self.body)


def fetch(host, url: str, *options: str, source: str = "127.0.0.1") -> Answer:
    """Send a request to the edge from one of its own addresses."""
    names = ["shop.lab.test", "www.shop.lab.test", "unknown.lab.test", "acme.lab.test"]
    words = ["curl", "-sk", "-D", "-", "--http1.1", "--max-time", "20", "--interface", source]
    for name in names:
        for port in (80, 443):
            words += ["--resolve", f"{name}:{port}:127.0.0.1"]
    done = host.run(shlex.join([*words, *options, url]))
    assert done.rc == 0, f"curl {url}: {done.rc} {done.stderr} {done.stdout}"
    head, _, body = done.stdout.partition("\r\n\r\n")
    while head.split()[1] == "100":
        head, _, body = body.partition("\r\n\r\n")
    lines = head.split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:])}
    return Answer(int(lines[0].split()[1]), headers, body)


def ask_all(host, *commands: str) -> list[str]:
    done = host.run(f"/usr/local/bin/ask.py {shlex.join(commands)}")
    assert done.rc == 0, done.stderr
    return done.stdout.split("\0")


def ask(host, command: str) -> str:
    return ask_all(host, command)[0]


def private_address(host) -> str:
    return host.check_output("hostname -I").split()[0]


def entry_of(rows: str) -> str:
    """The one entry of a map as printed by `show map`: an address, the key, the value."""
    for line in rows.splitlines():
        if line.startswith("0x"):
            return line.split(maxsplit=2)[2]
    return ""


def memory(host, path: str) -> str:
    return entry_of(ask(host, f"@current show map {path}"))


def set_memory(host, path: str, value: str) -> None:
    ask(host, f"@current set map {path} shop {value}")
    if path == LIVE:
        # As a move does, so that the other edge takes it for the newer one.
        ask(host, f"@current set map {STATUS} shop confirmed,move={time.time_ns()},token=1,run=a,withdrawn=,out=")
    assert memory(host, path) == value


def states_of(table: str) -> dict[str, str]:
    """Each server's state as printed by `show stat`."""
    rows = [row.split(",") for row in table.splitlines() if row]
    column = rows[0].index("status")
    return {f"{row[0].lstrip('# ')}/{row[1]}": row[column] for row in rows[1:]}


def servers(host) -> dict[str, str]:
    return states_of(ask(host, "@current show stat"))


@pytest.fixture
def until(until):
    """Wait for at most these seconds by default."""
    return functools.partial(until, seconds=12)


@pytest.fixture(autouse=True)
def on_blue(host, until):
    """Each test starts with blue live, no maintenance, all replicas up."""
    live, maintenance, _, table = ask_all(
        host,
        f"@current show map {LIVE}",
        f"@current show map {MAINTENANCE}",
        "@current set server shop_green_api/backend_1 state ready",
        "@current show stat",
    )
    for path, rows, value in ((LIVE, live, "blue:0:1.0:1.1"), (MAINTENANCE, maintenance, "off")):
        if entry_of(rows) != value:
            set_memory(host, path, value)
    up = ("shop_blue_api/backend_1", "shop_blue_api/backend_2", "shop_green_api/backend_1")
    if any(states_of(table)[name] != "UP" for name in up):
        assert until(lambda: all(servers(host)[name] == "UP" for name in up)), servers(host)


# -- routing -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "service"),
    [
        ("/api", "api"),
        ("/api/", "api"),
        ("/api/orders?x=1", "api"),
        ("/api?x=/y", "api"),
        ("/apix", "web"),
        ("/", "web"),
        ("/x/api/", "web"),
    ],
)
def test_path_leads_to_its_service(host, path, service):
    answer = fetch(host, f"https://shop.lab.test{path}")
    assert answer.status == 200
    assert answer.json["service"] == service
    assert answer.json["path"] == path


def test_star_route_holds_for_every_public_name_and_others_do_not(host):
    assert fetch(host, "https://www.shop.lab.test/").json["service"] == "web"
    # /api is a route of shop.lab.test alone.
    assert fetch(host, "https://www.shop.lab.test/api").json["service"] == "web"


def test_name_of_a_host_is_read_without_case_port_and_trailing_dot(host):
    for name in ("SHOP.lab.test", "shop.lab.test:443", "shop.lab.test."):
        assert fetch(host, "https://shop.lab.test/", "-H", f"Host: {name}").status == 200, name


def test_unknown_name_is_not_found(host):
    assert fetch(host, "https://unknown.lab.test/").status == 404
    assert fetch(host, "http://unknown.lab.test/").status == 404


def test_one_runtime_write_moves_every_service(host):
    set_memory(host, LIVE, "green:0:1.1:1.0")
    assert {fetch(host, f"https://shop.lab.test{path}").json["release"] for path in ("/", "/api")} == {"1.1"}


def test_weight_draws_a_share_for_the_other_side(host):
    set_memory(host, LIVE, "blue:50:1.0:1.1")
    answers = host.check_output(
        "for i in $(seq 60); do curl -sk https://127.0.0.1/ -H 'Host: shop.lab.test'; echo; done"
    ).splitlines()
    releases = [json.loads(answer)["release"] for answer in answers]
    assert 10 <= releases.count("1.1") <= 50
    set_memory(host, LIVE, "blue:100:1.0:1.1")
    assert fetch(host, "https://shop.lab.test/").json["release"] == "1.1"


@pytest.mark.parametrize("entry", ["none:0::", "purple:0:1.0:", "blue"])
def test_entry_without_release_or_colour_is_never_guessed(host, entry):
    set_memory(host, LIVE, entry)
    answer = fetch(host, "https://shop.lab.test/")
    if entry == "blue":
        # A weight that is missing is no weight.
        assert answer.json["release"] == "1.0"
    else:
        assert answer.status == 503
        assert int(answer.headers["retry-after"]) > 0


def test_preview_shows_the_other_side(host):
    url = f"http://{private_address(host)}:8081/api"
    assert fetch(host, url, "-H", "Host: shop.lab.test", source="127.0.0.1").json["release"] == "1.1"
    set_memory(host, LIVE, "green:0:1.1:1.0")
    assert fetch(host, url, "-H", "Host: shop.lab.test").json["release"] == "1.0"
    set_memory(host, LIVE, "none:0::")
    assert fetch(host, url, "-H", "Host: shop.lab.test").json["release"] == "1.0"


# -- status --------------------------------------------------------------------


def test_status_reports_the_entry_from_memory(host):
    address = private_address(host)
    set_memory(host, LIVE, "green:5:1.1:1.0")
    assert fetch(host, f"http://{address}:8405/live/shop").body == "green:5:1.1:1.0\n"
    assert fetch(host, f"http://{address}:8405/live/nothing").status == 404
    assert fetch(host, f"http://{address}:8405/healthz").status == 200
    assert "haproxy_server_status{" in fetch(host, f"http://{address}:8405/metrics").body
    assert fetch(host, f"http://{address}:8405/healthz", "-X", "POST").status == 405


def test_private_listeners_answer_only_the_internal_ranges(host):
    address = private_address(host)
    for port, path in ((8405, "/metrics"), (8405, "/live/shop"), (8081, "/")):
        assert fetch(host, f"http://{address}:{port}{path}", source="127.0.0.9").status == 403
    listening = host.check_output("ss -Hltn")
    for port in (8405, 8081):
        assert f"{address}:{port}" in listening
        assert f"0.0.0.0:{port}" not in listening
        assert f"*:{port}" not in listening


def test_runtime_sockets_are_roots_alone(host):
    for path in ("/run/haproxy-master.sock", "/run/haproxy/admin.sock"):
        socket = host.file(path)
        assert (socket.user, socket.mode) == ("root", 0o600), path
    assert host.run("runuser -u nobody -- /usr/local/bin/ask.py show proc").rc != 0
    for path in ("/etc/haproxy/certs/default.pem", "/var/lib/evenkeel/shop/edge.json"):
        assert host.run(f"runuser -u nobody -- cat {path}").rc != 0
        assert host.file(path).mode == 0o600
    assert host.file("/etc/haproxy/certs").mode == 0o700


# -- TLS, headers, limits ------------------------------------------------------


def test_http_leads_to_https_and_keeps_the_method(host):
    answer = fetch(host, "http://shop.lab.test/a/b?c=d")
    assert answer.status == 308
    assert answer.headers["location"] == "https://shop.lab.test/a/b?c=d"


def test_old_tls_is_refused(host):
    def tries(option):
        return host.run(f"curl -sk -o /dev/null {option} https://127.0.0.1/ -H 'Host: shop.lab.test'").rc

    assert tries("--tlsv1.2 --tls-max 1.2") == 0
    assert tries("--tlsv1.3") == 0
    assert tries("--tlsv1.1 --tls-max 1.1 --ciphers DEFAULT@SECLEVEL=0") != 0


def test_answers_carry_security_headers_and_hide_the_server(host):
    answer = fetch(host, "https://shop.lab.test/")
    assert answer.headers["strict-transport-security"] == "max-age=31536000"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["x-frame-options"] == "SAMEORIGIN"
    assert answer.headers["referrer-policy"] == "strict-origin-when-cross-origin"
    assert "server" not in answer.headers
    assert "x-powered-by" not in answer.headers
    assert "strict-transport-security" not in fetch(host, "http://shop.lab.test/").headers
    # Answers of the edge itself carry them as well.
    assert "x-content-type-options" in fetch(host, "https://unknown.lab.test/").headers


def test_body_over_the_limit_is_refused(host):
    body = ("--data-binary", "x" * 1000)
    assert fetch(host, "https://shop.lab.test/api/x", *body).json["length"] == 1000
    assert fetch(host, "https://shop.lab.test/api/x", "--data-binary", "x" * 1001).status == 413


@pytest.mark.parametrize("version", ["--http1.1", "--http2"])
def test_body_that_hides_its_length_is_refused(host, version, until):
    done = host.run(
        f"head -c 200 /dev/zero | curl -sk {version} -o /dev/null -w '%{{http_code}}' -T - -X POST "
        f"-H 'Host: shop.lab.test' 'https://127.0.0.1/api/x?hidden{version}'"
    )
    # HAProxy 2.6 resets the stream of a request that is still being sent, and curl then may tell no status.
    assert done.stdout == "411" or (done.stdout, done.rc, version) == ("000", 92, "--http2"), done
    refused = f"journalctl -u haproxy --since -20s -o cat --no-pager | grep -F '/api/x?hidden{version} '"
    assert until(lambda: "/<NOSRV> " in host.run(refused).stdout), done
    assert " 411 " in host.check_output(refused)
    empty = host.run(
        f"curl -sk {version} -o /dev/null -w '%{{http_code}}' -X POST -H 'Host: shop.lab.test' https://127.0.0.1/api/x"
    )
    assert empty.stdout == "200", empty


def test_too_many_requests_are_refused_by_client(host):
    codes = host.check_output(
        "for i in $(seq 60); do curl -sk --interface 127.0.0.20 -o /dev/null -w '%{http_code}\\n' "
        "https://127.0.0.1/ -H 'Host: shop.lab.test'; done"
    ).split()
    assert codes[:40] == ["200"] * 40
    assert codes[-1] == "429"
    answer = fetch(host, "https://shop.lab.test/", source="127.0.0.20")
    assert (answer.status, answer.headers["retry-after"]) == (429, "10")
    assert fetch(host, "https://shop.lab.test/", source="127.0.0.21").status == 200


def test_client_address_is_accepted_only_from_trusted_proxies(host):
    forged = (
        "-H",
        "X-Forwarded-For: 192.0.2.66",
        "-H",
        "X-Forwarded-Proto: gopher",
        "-H",
        "X-Real-IP: 192.0.2.66",
        "-H",
        "Forwarded: for=192.0.2.66",
        "-H",
        "X-Forwarded-Host: evil.test",
        *("-H", "X-Forwarded-Port: 9", "-H", "X_Forwarded_For: 192.0.2.66", "-H", "Connection: X-Forwarded-For"),
    )
    seen = fetch(host, "https://shop.lab.test/", *forged).json["headers"]
    assert seen["x-forwarded-for"] == "127.0.0.1"
    assert seen["x-real-ip"] == "127.0.0.1"
    assert seen["x-forwarded-proto"] == "https"
    assert seen["x-forwarded-host"] == "shop.lab.test"
    assert seen["x-forwarded-port"] == "443"
    assert not {"forwarded", "x_forwarded_for", "connection"} & set(seen)
    reported = ("-H", "X-Forwarded-For: 192.0.2.66, 192.0.2.77")
    seen = fetch(host, "https://shop.lab.test/", *reported, source="127.0.0.5").json["headers"]
    assert seen["x-forwarded-for"] == "192.0.2.77"
    # A chain of trusted proxies leads back to the first address that is none.
    reported = ("-H", "X-Forwarded-For: 192.0.2.66, 127.0.0.5")
    seen = fetch(host, "https://shop.lab.test/", *reported, source="127.0.0.5").json["headers"]
    assert seen["x-forwarded-for"] == "192.0.2.66"
    # TLS that a trusted proxy terminated counts.
    done = fetch(host, "http://shop.lab.test/", "-H", "X-Forwarded-Proto: https", source="127.0.0.5")
    assert done.json["headers"]["x-forwarded-proto"] == "https"
    assert done.json["headers"]["x-forwarded-port"] == "443"
    assert fetch(host, "http://shop.lab.test/", "-H", "X-Forwarded-Proto: https").status == 308


# -- streams -------------------------------------------------------------------


def test_event_stream_outlives_the_timeout_of_a_request(host):
    # Server and client time out after 2 s; the stream is silent for 4.
    answer = fetch(host, "https://shop.lab.test/stream?4", "-H", "Accept: text/event-stream")
    assert "last" in answer.body
    assert fetch(host, "https://shop.lab.test/slow?4").status == 504


def test_websocket_outlives_the_timeout_of_a_request(host):
    done = host.run("""python3 - <<'PYTHON'
import socket, ssl, time
link = ssl._create_unverified_context().wrap_socket(socket.create_connection(("127.0.0.1", 443)))
link.sendall(b"GET /ws HTTP/1.1\\r\\nHost: shop.lab.test\\r\\nUpgrade: websocket\\r\\nConnection: Upgrade\\r\\n"
             b"Sec-WebSocket-Version: 13\\r\\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\\r\\n\\r\\n")
assert b" 101 " in link.recv(4096)
time.sleep(4)
link.sendall(b"still here")
assert link.recv(100) == b"still here"
PYTHON""")
    assert done.rc == 0, done.stderr


# -- maintenance ---------------------------------------------------------------


def test_maintenance_page_and_those_who_pass_it(host):
    set_memory(host, MAINTENANCE, "on")
    answer = fetch(host, "https://shop.lab.test/")
    assert answer.status == 503
    assert "maintenance" in answer.body
    assert answer.headers["retry-after"] == "60"
    assert fetch(host, "https://shop.lab.test/", source="127.0.0.6").json["release"] == "1.0"
    # The side that is not live can be looked at all the same.
    assert fetch(host, f"http://{private_address(host)}:8081/", "-H", "Host: shop.lab.test").status == 200
    set_memory(host, MAINTENANCE, "off")
    assert fetch(host, "https://shop.lab.test/").status == 200


# -- certificates --------------------------------------------------------------


def certificate(host, name: str) -> str:
    return host.check_output(
        f"echo | openssl s_client -connect 127.0.0.1:443 -servername {name} 2>/dev/null "
        "| openssl x509 -noout -issuer -serial -ext subjectAltName"
    )


def test_self_signed_certificate_carries_its_names(host):
    shown = certificate(host, "shop.lab.test")
    assert "DNS:shop.lab.test, DNS:www.shop.lab.test" in shown
    assert "Pebble" not in shown


def test_authority_issued_although_it_asks_one_edge_alone(host):
    """The name leads to edge12; edge13 has a certificate because edge12 asked it for the answer."""
    shown = certificate(host, "acme.lab.test")
    assert "Pebble" in shown
    assert "DNS:acme.lab.test" in shown
    assert host.file("/var/lib/evenkeel/edge/acme.map").content_string == ""
    assert host.file("/etc/haproxy/certs/issued.pem").mode == 0o600


def test_timer_renews_without_a_reload(host):
    assert host.service("evenkeel-acme.timer").is_enabled
    assert host.service("evenkeel-acme.timer").is_running
    before = certificate(host, "acme.lab.test")
    worker = ask(host, "show proc").split("# workers\n")[1].split()[0]
    # As if 100 days were left: more than the authority gives.
    host.check_output("sed -i.kept 's/^RENEW_DAYS=.*/RENEW_DAYS=100/' /etc/evenkeel/acme/config")
    try:
        done = host.run("systemctl start evenkeel-acme.service")
        assert done.rc == 0, host.run("journalctl -u evenkeel-acme -n 20 --no-pager -o cat").stdout
    finally:
        host.check_output("mv /etc/evenkeel/acme/config.kept /etc/evenkeel/acme/config")
    after = certificate(host, "acme.lab.test")
    assert "Pebble" in after
    assert after != before
    assert ask(host, "show proc").split("# workers\n")[1].split()[0] == worker


def test_unknown_challenge_is_not_found(host):
    assert fetch(host, "http://acme.lab.test/.well-known/acme-challenge/nothing").status == 404


# -- memory over reload, restart and stop ---------------------------------------


@pytest.mark.parametrize("verb", ["reload", "restart"])
def test_memory_survives(host, verb):
    """A move that only memory knows, and a server in maintenance, come through."""
    set_memory(host, LIVE, "green:0:1.1:1.0")
    set_memory(host, MAINTENANCE, "on")
    ask(host, "@current set server shop_green_api/backend_1 state maint")
    host.check_output(f"echo 'shop blue:0:1.0:1.1' > {LIVE}")
    try:
        done = host.run(f"systemctl {verb} haproxy")
        assert done.rc == 0, host.run("journalctl -u haproxy -n 20 --no-pager").stdout
        assert memory(host, LIVE) == "green:0:1.1:1.0"
        assert memory(host, MAINTENANCE) == "on"
        assert host.file(LIVE).content_string == "shop green:0:1.1:1.0\n"
        assert servers(host)["shop_green_api/backend_1"] == "MAINT"
    finally:
        ask(host, "@current set server shop_green_api/backend_1 state ready")


def test_moved_server_is_found_where_the_configuration_says(host, until):
    """HAProxy alone would go on asking the port of its state file."""
    fragment = "/etc/haproxy/conf.d/50-app-shop.cfg"
    host.check_output(f"cp {fragment} /run/fragment && sed -i 's/:20004/:20005/' {fragment}")
    try:
        assert host.run("systemctl reload haproxy").rc == 0
        assert until(lambda: fetch(host, "https://shop.lab.test/").body.count('"port": 20005') == 1)
        assert host.run("systemctl restart haproxy").rc == 0
        assert until(lambda: fetch(host, "https://shop.lab.test/").body.count('"port": 20005') == 1)
    finally:
        host.check_output(f"cp /run/fragment {fragment} && systemctl reload haproxy")
    assert until(lambda: fetch(host, "https://shop.lab.test/").body.count('"port": 20004') == 1)


def test_kill_of_the_master_keeps_what_is_in_the_files(host, until):
    assert host.run("systemctl reload haproxy").rc == 0
    host.check_output("kill -9 $(systemctl show -P MainPID haproxy)")
    assert until(lambda: host.run("/usr/local/bin/ask.py show proc").rc == 0)
    assert until(lambda: memory(host, LIVE) == "blue:0:1.0:1.1")


def test_broken_configuration_is_not_loaded(host):
    before = ask(host, "show proc").split("# workers\n")[1].split()[0]
    host.check_output("echo 'nonsense here' > /etc/haproxy/conf.d/90-broken.cfg")
    try:
        assert host.run("systemctl reload haproxy").rc != 0
        assert "90-broken.cfg" in host.check_output("journalctl -u haproxy -n 8 --no-pager -o cat")
    finally:
        host.check_output("rm /etc/haproxy/conf.d/90-broken.cfg")
    assert ask(host, "show proc").split("# workers\n")[1].split()[0] == before
    assert fetch(host, "https://shop.lab.test/").status == 200


def test_reloads_under_load_lose_nothing(host):
    done = host.run(
        "/usr/local/bin/load.py 6 150 > /run/load.json & "
        "for i in 1 2 3; do sleep 1.2; systemctl reload haproxy || exit 1; done; wait; cat /run/load.json"
    )
    assert done.rc == 0, done.stderr
    result = json.loads(done.stdout)
    assert result["failed"] == 0, result
    assert result["ok"] > 800, result


def test_reload_waits_for_the_edge_wide_lock(host):
    done = host.run(
        "flock /run/lock/evenkeel-edge.lock sleep 2 & sleep 0.3; "
        "start=$(date +%s%N); systemctl reload haproxy; echo $((($(date +%s%N) - start) / 1000000)); wait"
    )
    assert int(done.stdout) > 1300, done


# -- an edge that was away -------------------------------------------------------


@pytest.fixture
def other(host):
    """The other edge; it runs with blue live before and after."""
    name = "edge12" if host.backend.hostname == "edge13" else "edge13"
    found = host.get_host(f"ansible://{name}", ansible_inventory=host.backend.ansible_inventory)
    if memory(found, LIVE) != "blue:0:1.0:1.1":
        set_memory(found, LIVE, "blue:0:1.0:1.1")
    yield found
    found.check_output("systemctl start haproxy")
    set_memory(found, LIVE, "blue:0:1.0:1.1")


def confirming(host) -> bool:
    return host.run("systemctl is-active evenkeel-edge-confirm").stdout.strip() == "active"


def test_edge_that_was_away_takes_the_move_it_missed(host, other):
    host.check_output("systemctl stop haproxy")
    set_memory(other, LIVE, "green:0:1.1:1.0")
    host.check_output("systemctl start haproxy")
    assert memory(host, LIVE) == "green:0:1.1:1.0"
    assert host.file(LIVE).content_string == "shop green:0:1.1:1.0\n"
    assert fetch(host, "https://shop.lab.test/").json["release"] == "1.1"
    assert memory(host, STATUS) == memory(other, STATUS)
    assert json.loads(host.file("/var/lib/evenkeel/shop/state.json").content_string)["entry"] == "green:0:1.1:1.0"


def test_edge_killed_after_its_own_move_keeps_it(host, other):
    set_memory(host, LIVE, "green:0:1.1:1.0")
    host.check_output("systemctl restart haproxy")
    assert memory(host, LIVE) == "green:0:1.1:1.0"
    assert memory(other, LIVE) == "blue:0:1.0:1.1"


def test_edge_serves_nothing_of_backends_that_it_does_not_know(host, other, until):
    record = "/var/lib/evenkeel/shop/edge.json"
    status = f"http://{private_address(host)}:8405"
    host.check_output("systemctl stop haproxy")
    set_memory(other, LIVE, "green:0:1.1:1.0")
    host.check_output(f"cp {record} /run/record && sed -i s/20003/20009/ {record}")
    try:
        host.check_output("systemctl start haproxy")
        assert fetch(host, "https://shop.lab.test/").status == 503
        assert fetch(host, f"{status}/healthz").status == 503
        assert fetch(host, f"{status}/live/shop").body == "green:0:1.1:1.0\n"
        assert confirming(host)
    finally:
        host.check_output(f"cp /run/record {record}")
    # Once it has the record, the answer of the other edge is enough, and no run is needed.
    assert until(lambda: fetch(host, "https://shop.lab.test/").status == 200)
    assert fetch(host, f"{status}/healthz").status == 200
    assert until(lambda: not confirming(host))


def test_edge_without_a_reachable_peer_serves_and_keeps_asking(host, other, until):
    other.check_output("systemctl stop haproxy")
    host.check_output("systemctl restart haproxy")
    assert fetch(host, "https://shop.lab.test/").status == 200
    assert confirming(host)
    other.check_output("systemctl start haproxy")
    assert until(lambda: not confirming(host), seconds=20)
    assert memory(host, LIVE) == memory(other, LIVE) == "blue:0:1.0:1.1"


def test_edge_declared_out_answers_only_once_the_controller_trusts_it(host, other, until):
    text = memory(other, STATUS)
    host.check_output("systemctl stop haproxy")
    ask(other, f"@current set map {STATUS} shop {text}{host.backend.hostname}")
    try:
        host.check_output("systemctl start haproxy")
        assert fetch(host, "https://shop.lab.test/").status == 503
        assert confirming(host)
        host.check_output("/usr/local/lib/evenkeel/edge-sync trust")
        assert fetch(host, "https://shop.lab.test/").status == 200
    finally:
        ask(other, f"@current set map {STATUS} shop {text}")
        host.check_output("/usr/local/lib/evenkeel/edge-sync trust")
    assert until(lambda: not confirming(host))


def test_side_whose_warm_time_is_over_is_withdrawn_by_the_timer(host, until):
    state = "/var/lib/evenkeel/shop/state.json"
    before = memory(host, STATUS)
    host.check_output(f"cp {state} /run/state 2>/dev/null || true")
    warm = {"colour": "green", "release": "1.1", "until": int(time.time()) - 1, "move": 7}
    text = json.dumps({"schema": 2, "app": "shop", "entry": "blue:0:1.0:1.1", "warm": warm})
    host.check_output(f"echo {shlex.quote(text)} > {state}")
    try:
        assert until(lambda: ",withdrawn=green@7," in memory(host, STATUS), seconds=25)
        assert host.file(STATUS).content_string == f"shop {memory(host, STATUS)}\n"
    finally:
        host.check_output(f"rm {state}; cp /run/state {state} 2>/dev/null || true")
        ask(host, f"@current set map {STATUS} shop {before}")


def test_request_whose_body_is_awaited_has_no_backend_yet(host):
    send = (
        "import socket, time; s = socket.create_connection(('127.0.0.1', 80)); "
        "s.sendall(b'POST / HTTP/1.1\\r\\nHost: unknown\\r\\nTransfer-Encoding: chunked\\r\\n\\r\\n'); time.sleep(3)"
    )
    send = send.replace("Host: unknown", "Host: shop.lab.test\\r\\nX-Forwarded-Proto: https")
    send = send.replace(
        "create_connection(('127.0.0.1', 80))", "create_connection(('127.0.0.1', 80), 5, ('127.0.0.5', 0))"
    )
    host.check_output(f"systemd-run --quiet python3 -c {shlex.quote(send)}")
    time.sleep(1)
    # connection_drain counts these lines.
    assert " fe=public_http be=<NONE> " in ask(host, "@current show sess")


# -- replicas ------------------------------------------------------------------


def test_slot_without_a_replica_is_down(host, until):
    assert until(lambda: servers(host)["shop_green_api/backend_2"] == "DOWN")


def test_post_is_sent_once_when_its_replica_dies(host):
    backend = host.get_host("ansible://backend", ansible_inventory=host.backend.ansible_inventory)
    mark = f"{host.backend.hostname}-{time.time()}"
    answer = fetch(host, "https://shop.lab.test/api/die", "--data-binary", mark)
    assert answer.status == 502
    assert backend.check_output(f"cat /run/app-*.posts | grep -c {mark}") == "1"


def test_refused_connection_goes_to_the_neighbour(host):
    backend = host.get_host("ansible://backend", ansible_inventory=host.backend.ansible_inventory)
    backend.check_output("systemctl stop app@20000")
    try:
        codes = host.check_output(
            "for i in $(seq 30); do curl -sk -o /dev/null -w '%{http_code}\\n' --data-binary x "
            "https://127.0.0.1/api -H 'Host: shop.lab.test'; done"
        ).split()
    finally:
        backend.check_output("systemctl start app@20000")
    assert codes == ["200"] * 30


# -- what the role leaves alone, and what it refuses -----------------------------


def test_role_keeps_the_live_entry_it_found_and_its_own_routes(host):
    # prepare.yml created both before the role ran; there was no deploy since.
    assert "shop.lab.test/api/ api" in host.file("/var/lib/evenkeel/shop/routes-blue.map").content_string
    assert "nowhere" not in host.file("/var/lib/evenkeel/shop/routes-blue.map").content_string
    assert memory(host, LIVE).startswith("blue:0:1.0")


def test_refused_candidate_left_nothing_behind(host):
    # converge.yml used a balance algorithm that HAProxy does not know.
    assert "sideways" not in host.check_output("cat /etc/haproxy/conf.d/*.cfg")
    assert host.run("ls -d ~root/.ansible/tmp/*/evenkeel-edge-* /tmp/evenkeel-edge-*").rc != 0


def test_removed_app_leaves_nothing(host):
    assert not host.file("/var/lib/evenkeel/gone").exists
    assert not host.file("/etc/haproxy/conf.d/50-app-gone.cfg").exists
    assert "gone" not in host.check_output("cat /etc/haproxy/conf.d/*.cfg")
