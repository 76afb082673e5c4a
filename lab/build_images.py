#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""Build the images of the lab whose inputs changed.

A label of each image holds the hash of its inputs: the build context, the
arguments and the hashes of its base images. A changed base thus rebuilds the
images that depend on it, and no others.

build_images.py [--proxy URL] [--push HOST:PORT --docker-config DIR] [--pushed-only] [--upstream] [NAME[:TAG] ...]
build_images.py --untag HOST:PORT | --remove
"""

from __future__ import annotations

import argparse
import base64
import contextlib
import fcntl
import hashlib
import json
import os
import re
import shutil
import ssl
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from debian_mirror import Mirror, MirrorError, machine_mirror

LAB = Path(__file__).resolve().parent
CACHE = LAB.parent / ".cache"
LABEL = "org.evenkeel.lab.inputs"
MANIFESTS = ", ".join(
    f"application/vnd.{kind}+json"
    for kind in (
        "docker.distribution.manifest.v2",
        "docker.distribution.manifest.list.v2",
        "oci.image.manifest.v1",
        "oci.image.index.v1",
    )
)


class BuildError(Exception):
    """An image could not be declared, built or pushed."""


def docker_command() -> str:
    """Return the engine's own client if another program hides it."""
    packaged = Path("/usr/bin/docker")
    return str(packaged) if packaged.exists() else "docker"


@dataclass
class Image:
    """One declared image."""

    name: str
    tag: str
    context: Path
    suite: str = ""
    dockerfile: str = "Dockerfile"
    args: dict[str, str] = field(default_factory=dict)
    on_demand: bool = False
    push: bool = False
    programs: list[str] = field(default_factory=list)

    @property
    def ref(self) -> str:
        """Return name and tag for the engine."""
        return f"{self.name}:{self.tag}"


def declared(path: Path, push: bool = False, upstream: bool = False) -> list[Image]:
    """Read a list of images with its includes, in build order; optionally based on public images."""
    document = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    found = []
    for item in document.get("images", []):
        missing = {"name", "tag", "context"} - item.keys()
        if missing:
            raise BuildError(f"lab: {path}: an image lacks {', '.join(sorted(missing))}: {item}")
        found.append(
            Image(
                name=item["name"],
                tag=str(item["tag"]),
                context=(path.parent / item["context"]).resolve(),
                suite=item.get("suite", ""),
                dockerfile=(upstream and item.get("upstream")) or item.get("dockerfile", "Dockerfile"),
                args={key: str(value) for key, value in (item.get("args") or {}).items()},
                on_demand=bool(item.get("on_demand", False)),
                push=bool(item.get("push", push)),
                programs=list(item.get("programs") or []),
            )
        )
    for other in document.get("include_if_present", []):
        if (path.parent / other).is_file():
            found.extend(declared((path.parent / other).resolve(), push=True, upstream=upstream))
    return found


def bases(image: Image) -> list[str]:
    """Return the base images of an image, with arguments substituted."""
    if image.suite:
        return []
    values = dict(image.args)
    found = []
    for line in (image.context / image.dockerfile).read_text(encoding="utf-8").splitlines():
        argument = re.match(r"\s*ARG\s+(\w+)=(\S+)", line)
        if argument:
            values.setdefault(argument[1], argument[2].strip("\"'"))
        source = re.match(r"\s*FROM\s+(?:--\S+\s+)*(\S+)", line)
        if source:
            ref = re.sub(r"\$\{?(\w+)\}?", lambda name: values.get(name[1], ""), source[1])
            found.append(ref if ":" in ref else f"{ref}:latest")
    return found


def context_hash(folder: Path) -> str:
    """Return a hash of all files, links and modes below a folder."""
    total = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        if {"__pycache__", ".git"} & set(path.parts) or path.is_dir():
            continue
        total.update(f"{path.relative_to(folder)}\0{path.lstat().st_mode & 0o111:o}\0".encode())
        total.update(str(path.readlink()).encode() if path.is_symlink() else path.read_bytes())
        total.update(b"\0")
    return total.hexdigest()


def program(image: Image, name: str) -> Path:
    """Return a program of this machine that is copied into an image."""
    path = CACHE / "bin" / name
    if not path.is_file():
        raise BuildError(
            f"lab: program {name} of {image.ref}: found none, need {path}. Run its step of lab/steps first."
        )
    return path


@contextlib.contextmanager
def context(image: Image) -> Iterator[Path]:
    """Provide the build context: the image's folder, or a copy of it with programs added."""
    if not image.programs:
        yield image.context
        return
    with tempfile.TemporaryDirectory(dir=CACHE) as scratch:
        folder = Path(scratch) / "context"
        shutil.copytree(image.context, folder)
        for name in image.programs:
            shutil.copy2(program(image, name), folder / name)
        yield folder


def input_hash(image: Image, mirror: Mirror, known: dict[str, str]) -> str:
    """Return the hash of an image's inputs."""
    parts: list[Any] = [context_hash(image.context), image.dockerfile, sorted(image.args.items())]
    parts += [hashlib.sha256(program(image, name).read_bytes()).hexdigest() for name in image.programs]
    if image.suite:
        parts += [image.suite, mirror.packages, mirror.security]
    parts += [known[ref] for ref in bases(image) if ref in known]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def selected(images: list[Image], wanted: Iterable[str]) -> list[Image]:
    """Return the requested images with their bases."""
    names = set(wanted)
    if not names:
        kept = {image.ref for image in images if not image.on_demand}
    else:
        kept = {i.ref for i in images if i.ref in names or (i.name in names and not i.on_demand)}
        unknown = names - kept - {i.name for i in images}
        if unknown:
            raise BuildError(f"lab: no such image: {', '.join(sorted(unknown))}")
    for image in reversed(images):
        if image.ref in kept:
            kept.update(bases(image))
    return [image for image in images if image.ref in kept]


class Engine:
    """The Docker engine of this machine, through its client."""

    def __init__(self, mirror: Mirror, proxy: str, config: str) -> None:
        """Store the package source and the login for pushes."""
        self.mirror = mirror
        self.proxy = proxy
        self.command = [docker_command()] + (["--config", config] if config else [])

    def label(self, ref: str) -> str:
        """Return the input hash of an image, empty without an image."""
        answer = subprocess.run(
            [*self.command, "image", "inspect", "--format", f'{{{{index .Config.Labels "{LABEL}"}}}}', ref],
            capture_output=True,
            text=True,
            check=False,
        )
        return answer.stdout.strip() if answer.returncode == 0 else ""

    def identity(self, ref: str) -> str:
        """Return the engine's id of an image, empty without an image."""
        return subprocess.run(
            [*self.command, "image", "inspect", "--format", "{{.Id}}", ref],
            capture_output=True,
            text=True,
            check=False,
        ).stdout.strip()

    def remove(self, ref: str) -> bool:
        """Remove a tag, and the image with its last tag; images in use are kept."""
        return not subprocess.run([*self.command, "image", "rm", ref], capture_output=True, check=False).returncode

    def build(self, image: Image, inputs: str) -> None:
        """Build one image, or import its root file system; remove the former one."""
        before = self.identity(image.ref)
        self._build(image, inputs)
        if before and before != self.identity(image.ref):
            self.remove(before)

    def _build(self, image: Image, inputs: str) -> None:
        with context(image) as folder:
            self._build_in(folder, image, inputs)

    def _build_in(self, folder: Path, image: Image, inputs: str) -> None:
        environment = dict(os.environ, EVENKEEL_DOCKER=docker_command())
        if image.suite:
            if self.mirror.proxy:
                environment["http_proxy"] = self.mirror.proxy
            argv = [str(folder / "build.sh"), image.suite, self.mirror.packages]
            argv += [self.mirror.security, image.ref, f"{LABEL}={inputs}"]
        else:
            argv = [*self.command, "build", "--network", "host", "--label", f"{LABEL}={inputs}"]
            argv += ["--tag", image.ref, "--file", str(folder / image.dockerfile)]
            for key, value in sorted(image.args.items()):
                argv += ["--build-arg", f"{key}={value}"]
            proxy = self.proxy or self.mirror.proxy
            if proxy:
                argv += ["--build-arg", f"http_proxy={proxy}"]
            argv.append(str(folder))
        self.run(argv, f"build {image.ref}", environment)

    def run(self, argv: list[str], what: str, environment: dict[str, str] | None = None) -> None:
        """Run a command; its output is shown only if it fails."""
        answer = subprocess.run(
            argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment, check=False
        )
        if answer.returncode:
            tail = "\n".join(answer.stdout.splitlines()[-40:])
            raise BuildError(f"lab: {what} failed with status {answer.returncode}:\n{tail}")


class Registry:
    """The lab's registry, through its published port."""

    def __init__(self, address: str, config: str) -> None:
        """Read the login from the file that the Docker client uses."""
        self.address = address
        auths = json.loads((Path(config) / "config.json").read_text(encoding="utf-8"))["auths"]
        self.headers = {"Authorization": f"Basic {auths[address]['auth']}", "Accept": MANIFESTS}
        self.tls = ssl.create_default_context(cafile=str(Path(config) / "ca.crt"))

    def holds(self, image: Image, identity: str) -> bool:
        """Return whether the registry's tag is the engine's image."""
        url = f"https://{self.address}/v2/{image.name}/manifests/{image.tag}"
        try:
            with urllib.request.urlopen(
                urllib.request.Request(url, headers=self.headers), timeout=10, context=self.tls
            ) as answer:
                digest = answer.headers.get("Docker-Content-Digest", "")
                manifest = json.load(answer)
        except urllib.error.HTTPError as error:
            if error.code == 404:
                return False
            raise BuildError(f"lab: {url}: {error}") from error
        return identity in (digest, manifest.get("config", {}).get("digest"))


def write_login(folder: Path, address: str, user: str, password: str) -> None:
    """Write a login for the Docker client without touching the user's own."""
    folder.mkdir(parents=True, exist_ok=True)
    token = base64.b64encode(f"{user}:{password}".encode()).decode()
    target = folder / "config.json"
    target.touch(mode=0o600)
    target.write_text(json.dumps({"auths": {address: {"auth": token}}}), encoding="utf-8")


def main() -> int:
    """Build images, and push them on request."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="NAME[:TAG]")
    parser.add_argument("--file", type=Path, default=LAB / "images.yml")
    parser.add_argument("--proxy", default="", help="package cache for the builds")
    parser.add_argument("--push", default="", metavar="HOST:PORT")
    parser.add_argument("--pushed-only", action="store_true", help="only what belongs into the registry")
    parser.add_argument("--upstream", action="store_true", help="build upon public images where one is named")
    parser.add_argument("--untag", default="", metavar="HOST:PORT", help="forget what was pushed there")
    parser.add_argument("--remove", action="store_true", help="remove every declared image")
    parser.add_argument("--docker-config", default="", help="folder with the registry's login")
    options = parser.parse_args()
    CACHE.mkdir(exist_ok=True)
    with (CACHE / "images.lock").open("w", encoding="utf-8") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        try:
            (clean if options.remove or options.untag else work)(options)
        except (BuildError, MirrorError) as error:
            print(error, file=sys.stderr)
            return 1
    return 0


def clean(options: argparse.Namespace) -> None:
    """Remove the declared images, but not others based on them."""
    engine = Engine(Mirror("", ""), "", "")
    for image in reversed(declared(options.file)):
        ref = f"{options.untag}/{image.ref}" if options.untag else image.ref
        if engine.identity(ref) and engine.remove(ref):
            print(f"removed {ref}", flush=True)


def work(options: argparse.Namespace) -> None:
    """Run the requested action under the lock."""
    mirror = machine_mirror()
    engine = Engine(mirror, options.proxy, options.docker_config)
    registry = Registry(options.push, options.docker_config) if options.push else None
    known: dict[str, str] = {}
    images = declared(options.file, upstream=options.upstream)
    wanted = options.names or [
        image.ref for image in images if image.push and options.pushed_only and not image.on_demand
    ]
    for image in selected(images, wanted):
        inputs = known[image.ref] = input_hash(image, mirror, known)
        started = time.monotonic()
        if engine.label(image.ref) == inputs:
            print(f"kept {image.ref}", flush=True)
        else:
            engine.build(image, inputs)
            print(f"built {image.ref} in {time.monotonic() - started:.1f} s", flush=True)
        if registry and image.push and not registry.holds(image, engine.identity(image.ref)):
            target = f"{registry.address}/{image.ref}"
            engine.run([*engine.command, "tag", image.ref, target], f"tag {target}")
            engine.run([*engine.command, "push", target], f"push {target}")
            print(f"pushed {target}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
