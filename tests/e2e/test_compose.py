"""compose.yaml, Dockerfile and the proxy's settings: nothing builds them here, but each command is started."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

from netra.testing.server import ROOT
from netra.testing.servers import free_port

COMPOSE = yaml.safe_load((ROOT / "compose.yaml").read_text())
DOCKERFILE = (ROOT / "Dockerfile").read_text()
NGINX = (ROOT / "deploy" / "nginx.conf").read_text()
SERVICES: dict[str, Any] = COMPOSE["services"]
OURS = {name: service for name, service in SERVICES.items() if service["image"] == "netra"}
SECONDS = 60.0


def with_values(setting: str, values: Mapping[str, str]) -> str:
    """As compose puts variables in: `${NAME}`, `${NAME:-default}`, `${NAME:?why it must be there}`."""

    def value(found: re.Match[str]) -> str:
        name, kind, rest = found.groups()
        if kind == ":?" and not values.get(name):
            raise AssertionError(f"{name}: {rest}")
        return values.get(name) or (rest if kind == ":-" else "")

    return re.sub(r"\$\{(\w+)(:[-?])?([^}]*)\}", value, setting)


class Container:
    """A service's process, with the environment that compose gives it, on a port of this machine."""

    def __init__(self, name: str, folder: Path, replaced: Mapping[str, str]) -> None:
        service = OURS[name]
        self.port = str(free_port())
        self.log = folder / f"{name}.log"
        image = dict(re.findall(r"(\w+)=(\S+)", DOCKERFILE.partition("\nENV ")[2].partition("\n")[0]))
        given = {
            key: with_values(value, {"SECRET_KEY": "k" * 50, "POSTGRES_PASSWORD": "p"})
            for key, value in service["environment"].items()
        }
        self._environment = {"PATH": os.environ["PATH"], **image, **given, **replaced, "PORT": self.port}
        self._command = self._here(service["command"])
        self._health = self._here(
            service.get("healthcheck", {}).get("test")
            or yaml.safe_load(re.findall(r"HEALTHCHECK .* CMD (.*)", DOCKERFILE)[0])
        )
        self.process: subprocess.Popen[bytes] | None = None

    def _here(self, command: Sequence[str]) -> list[str]:
        words = [re.sub(r"\b[89]000\b", self.port, word) for word in command if word != "CMD"]
        return [sys.executable, *([] if words[0] == "python" else ["-m", words[0]]), *words[1:]]

    def run(self) -> int:
        self.start()
        return self.wait()

    def start(self) -> None:
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(self._command, cwd=ROOT, env=self._environment, stdout=log, stderr=log)

    def until_healthy(self) -> str:
        deadline = time.monotonic() + SECONDS
        while True:
            done = subprocess.run(
                self._health,
                cwd=ROOT,
                env=self._environment,
                capture_output=True,
                text=True,
                timeout=SECONDS,
                check=False,
            )
            if done.returncode == 0 and "degraded" not in done.stdout:
                return done.stdout
            assert time.monotonic() < deadline, done.stdout + done.stderr + self.log.read_text()[-2000:]

    def terminate(self) -> None:
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)

    def wait(self) -> int:
        assert self.process is not None
        return self.process.wait(SECONDS)


@pytest.fixture
def containers(postgresql_server, redis_server, tmp_path) -> Iterator[dict[str, Container]]:
    servers = {"DATABASE_URL": postgresql_server.create_database(), "REDIS_URL": redis_server.url}
    data = {"NETRA_DATA_DIR": str(tmp_path / "data"), "HOST": "127.0.0.1"}
    made = {name: Container(name, tmp_path, servers | data) for name in ("migrate", "web-1", "web-2", "worker-1")}
    yield made
    for container in made.values():
        if container.process is not None and container.process.poll() is None:
            container.process.kill()
            container.process.wait(SECONDS)


@pytest.mark.e2e
@pytest.mark.slow
def test_every_command_works_and_ends_in_good_order(containers):
    migrate, *others = containers.values()
    assert migrate.run() == 0, migrate.log.read_text()
    for container in others:
        container.start()
    said = {name: containers[name].until_healthy() for name in ("worker-1", "web-1", "web-2")}

    assert "runner: ok." in said["worker-1"]
    assert "workers: ok." in said["web-1"]
    assert "workers: ok." in said["web-2"]
    for container in others:
        container.terminate()
    # uvicorn stops in good order, then ends by the signal that it was sent.
    assert [container.wait() for container in others] == [0, -signal.SIGTERM, 0]


def test_there_is_what_the_deployment_needs():
    assert set(SERVICES) == {"database", "redis", "migrate", "web-1", "web-2", "worker-1", "worker-2", "proxy"}
    assert OURS["worker-2"] == OURS["worker-1"]
    assert "--ws-per-message-deflate" in OURS["web-2"]["command"]
    assert OURS["migrate"]["depends_on"] == {"database": {"condition": "service_healthy"}}
    for name in ("web-1", "web-2", "worker-1", "worker-2"):
        assert OURS[name]["depends_on"]["migrate"] == {"condition": "service_completed_successfully"}
    (published,) = (service["ports"] for service in SERVICES.values() if "ports" in service)
    assert published == SERVICES["proxy"]["ports"]


def test_a_secret_that_is_missing_is_told_by_name():
    for name in ("SECRET_KEY", "POSTGRES_PASSWORD"):
        given = {"SECRET_KEY": "k", "POSTGRES_PASSWORD": "p"} | {name: ""}
        with pytest.raises(AssertionError, match=name):
            _ = [with_values(value, given) for value in OURS["web-1"]["environment"].values()]


def test_the_image_runs_as_nobody_special_and_copies_what_there_is():
    before_start = DOCKERFILE.rpartition("\nCMD")[0]
    assert "\nUSER netra\n" in before_start
    for names in re.findall(r"^COPY (.+) \S+$", DOCKERFILE, re.MULTILINE):
        for name in names.split():
            assert (ROOT / name).exists()
            ignored = (ROOT / ".dockerignore").read_text().splitlines()
            assert f"!{name}" in ignored or ("requirements" in name and "!requirements*.txt" in ignored)


def test_the_proxy_knows_the_web_processes_and_waits_for_three_heartbeats():
    assert re.findall(r"server ([\w-]+):8000", NGINX) == [name for name in OURS if name.startswith("web")]
    assert NGINX.count("{") == NGINX.count("}")
    assert int(re.findall(r"proxy_read_timeout (\d+)s", NGINX)[0]) > 3 * 20
    assert "proxy_set_header Upgrade $http_upgrade;" in NGINX
