# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Releases as plain data."""

from __future__ import annotations

import os
import subprocess

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.evenkeel.platform.plugins.module_utils import _compose_release as release

TEXT = st.text(st.characters(codec="utf-8"))
KEYS = st.text(st.characters(codec="utf-8"), min_size=1, max_size=8)
PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=12,
)


@given(st.dictionaries(KEYS, PLAIN, max_size=4))
def test_yaml_reads_back_as_it_was_written(data):
    assert yaml.safe_load(release.to_yaml(data)) == data


@pytest.mark.parametrize("key", ["on", "no", "NULL", "1", "a b", "a:b", "-x", "y", "a\n"])
def test_key_that_yaml_would_take_for_something_else_is_quoted(key):
    assert yaml.safe_load(release.to_yaml({key: "value"})) == {key: "value"}


def test_same_content_is_the_same_folder_whatever_the_order_of_its_keys():
    one, two = release.render({"a": 1, "b": [2]}), release.render({"b": [2], "a": 1})
    assert one == two
    content = release.digest_of(one)
    assert release.folder_for(content, []) == (f"1-{content[:12]}", False)
    assert release.folder_for(content, ["1-000000000000", f"7-{content[:12]}", "x"]) == (f"7-{content[:12]}", True)
    assert release.folder_for(content, ["9-000000000000", "10-000000000001"]) == (f"11-{content[:12]}", False)


@given(st.sets(st.integers(1, 40)), st.integers(0, 10), st.integers(1, 40))
def test_pruning_keeps_the_newest_and_the_protected(numbers, keep, protected):
    folders = [f"{number}-{number:012x}" for number in numbers]
    current = f"{protected}-{protected:012x}"
    gone = release.to_prune(folders, keep, [current, None])
    left = [folder for folder in folders if folder not in gone]
    assert current not in gone
    assert len(left) >= min(keep, len(folders))
    assert len(left) <= keep + 1
    assert not gone or max(int(name.split("-")[0]) for name in gone) < max(numbers) or keep == 0


@pytest.mark.parametrize(
    ("reference", "digests", "preferred", "found"),
    [
        ("a.example/x:1", ["a.example/x@sha256:1"], None, "a.example/x@sha256:1"),
        (
            "a.example:5000/x:1",
            ["b.example/x@sha256:2", "a.example:5000/x@sha256:1"],
            None,
            "a.example:5000/x@sha256:1",
        ),
        ("docker.io/library/redis:7", ["redis@sha256:1"], None, "redis@sha256:1"),
        ("a/x:1", ["a/x@sha256:2", "a/x@sha256:1"], None, "a/x@sha256:1"),
        ("a/x:1", ["a/x@sha256:2", "a/x@sha256:1"], "a/x@sha256:2", "a/x@sha256:2"),
        ("a/x:1", ["a/xx@sha256:2"], None, None),
        ("a/x:1", [], None, None),
    ],
)
def test_digest_of_an_image_is_that_of_its_own_repository(reference, digests, preferred, found):
    assert release.pick_digest(reference, digests, preferred) == found


@pytest.mark.parametrize(
    ("output", "words"),
    [
        ("Error response from daemon: manifest for a/x:1 not found: manifest unknown", "found no such image"),
        ('Error response from daemon: Get "https://a/v2/": dial tcp: lookup a: no such host', "does not answer"),
        (
            'Error response from daemon: Get "https://a/v2/": net/http: request canceled (Client.Timeout exceeded)',
            "does not answer",
        ),
        ('Error response from daemon: Head "https://a/v2/x": no basic auth credentials\nunauthorized', "refused login"),
        ('Error response from daemon: Head "http://a/v2/x/manifests/1": no basic auth credentials', "refused login"),
        ("pull access denied for x, repository does not exist or may require 'docker login'", "refused login"),
        ("failed to register layer: write /x: no space left on device", "no space left on the disk"),
        ("tls: failed to verify certificate: x509: certificate signed by unknown authority", "does not trust"),
        ("http: server gave HTTP response to HTTPS client", "registry without TLS"),
        ("something new", "found an error (something new)"),
        ("", "found an error (no message)"),
    ],
)
def test_pull_failure_is_one_clear_sentence(output, words):
    sentence = release.pull_sentence("a/x:1", "stack shop", output)
    assert words in sentence
    assert sentence.startswith("compose_release: image a/x:1 on stack shop: found ")
    assert "\n" not in sentence


SECRET = {"name": "token", "service": "web", "uid": 10001, "version": "abc", "as": "file"}


def test_secrets_are_mounted_and_images_pinned_and_the_definition_stays():
    definition = {"services": {"web": {"image": "a:1"}, "db": {"image": "b:1"}}}
    result = release.assemble(definition, {"web": "a@sha256:1", "db": "b@sha256:2"}, [SECRET], {}, "/stacks/shop")
    assert result["services"]["db"] == {"image": "b@sha256:2"}
    assert result["services"]["web"]["volumes"] == [
        {
            "type": "bind",
            "source": "/stacks/shop/secrets/abc/web",
            "target": "/run/secrets",
            "read_only": True,
            "bind": {"create_host_path": False},
        }
    ]
    assert definition["services"]["web"] == {"image": "a:1"}


@pytest.mark.parametrize(
    ("service", "image", "entrypoint", "command"),
    [
        pytest.param({}, {"entrypoint": ["/init"], "command": ["$run"]}, ["/init"], ["$$run"], id="image"),
        pytest.param(
            {"command": ["own"]}, {"entrypoint": ["/init"], "command": ["run"]}, ["/init"], ["own"], id="command"
        ),
        pytest.param(
            {"entrypoint": ["/mine"]}, {"entrypoint": ["/init"], "command": ["run"]}, ["/mine"], [], id="entry"
        ),
        pytest.param({"entrypoint": None, "command": None}, {"command": ["run"]}, [], ["run"], id="no-entrypoint"),
    ],
)
def test_wrapper_runs_what_the_engine_would_have_run(service, image, entrypoint, command):
    secrets = [{**SECRET, "as": "environment"}, {**SECRET, "name": "b", "as": "environment", "variable": "Other"}]
    result = release.assemble(
        {"services": {"web": service}}, {"web": "a@sha256:1"}, secrets, {"web": image}, "/stacks/shop"
    )["services"]["web"]
    loader = ["/bin/sh", "/run/evenkeel/load-secrets", "Other=b", "TOKEN=token", "--"]
    assert result["entrypoint"] == loader + entrypoint
    assert result["command"] == command
    assert [mount["target"] for mount in result["volumes"]] == ["/run/secrets", "/run/evenkeel/load-secrets"]


def test_loader_gives_each_value_as_it_is_and_runs_the_program(tmp_path):
    (tmp_path / "a").write_text('it\'s "$HOME" `x`\nsecond line\n')
    (tmp_path / "b").write_text("plain")
    script = release.LOADER.replace("/run/secrets", str(tmp_path))
    command = [
        "sh",
        "-c",
        script,
        "load-secrets",
        "ONE=a",
        "TWO=b",
        "--",
        "sh",
        "-c",
        'printf %s "$ONE|$TWO|$*"',
        "sh",
        "x y",
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env={"PATH": os.environ["PATH"]})
    assert done.stdout == 'it\'s "$HOME" `x`\nsecond line|plain|x y'


def test_loader_stops_at_a_missing_secret(tmp_path):
    script = release.LOADER.replace("/run/secrets", str(tmp_path))
    done = subprocess.run(
        ["sh", "-c", script, "x", "ONE=a", "--", "echo", "ran"], capture_output=True, text=True, check=False
    )
    assert done.returncode != 0
    assert "ran" not in done.stdout


@pytest.mark.parametrize(
    ("secret", "service", "words"),
    [
        ({"service": "wbe"}, {}, "found wbe, need web"),
        ({}, {"user": "20"}, "uid on secret token of stack shop: found 10001, need 20"),
        ({}, {"volumes": [{"target": "/run/secrets/"}]}, "another mount at /run/secrets"),
    ],
    ids=["service", "uid", "mount"],
)
def test_secret_that_would_not_reach_its_program_is_named(secret, service, words):
    [problem] = release.secret_problems([{**SECRET, **secret}], {"web": service}, "shop")
    assert words in problem


def test_masking_hides_longer_values_first_and_leaves_short_ones():
    assert release.mask("pass password abc", ["pass", "password", "abc"]) == "******** ******** abc"


def test_leak_is_found_by_name():
    assert release.leaked("DB=longenough1", {"a": "longenough1", "b": "short"}) == ["a"]
