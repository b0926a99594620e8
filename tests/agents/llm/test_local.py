import json
import os
import signal
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest

from agents.errors import AgentError
from agents.llm import local
from agents.llm.local import LocalModel


@pytest.fixture
def model():
    model = LocalModel()
    yield model
    model.stop()


def models_of(served, key):
    headers = {"Authorization": f"Bearer {key}"}
    with urlopen(Request(f"{served.base_url}/models", headers=headers), timeout=20) as answer:
        return json.loads(answer.read())


async def test_it_is_one_process_with_a_key_that_starts_again_when_it_died(model):
    first = await model.serve()
    assert await model.serve() is first
    assert models_of(first, first.api_key)["data"]
    with pytest.raises(HTTPError, match="401"):
        urlopen(Request(f"{first.base_url}/chat/completions", data=b"{}", headers={}), timeout=20)

    os.kill(model.process.pid, signal.SIGKILL)
    model.process.wait(20)
    second = await model.serve()
    assert second != first
    assert models_of(second, second.api_key)["data"]

    process = model.process
    model.stop()
    assert process.poll() is not None
    assert not model.is_running


async def test_a_machine_without_it_is_told_what_to_do(model, monkeypatch):
    monkeypatch.setattr(local, "PACKAGES", ("xllamacpp", "not_installed_here"))

    with pytest.raises(AgentError, match="NETRA_LLM_BASE_URL") as refused:
        await model.serve()
    assert refused.value.code == "no_model"


async def test_it_can_be_switched_off(model, settings):
    settings.NETRA_LLM_LOCAL = False

    with pytest.raises(AgentError, match="No language model is configured"):
        await model.serve()


async def test_one_that_does_not_start_is_told(model, monkeypatch, tmp_path):
    interpreter = tmp_path / "python"
    interpreter.write_text("#!/bin/sh\nexit 7\n")
    interpreter.chmod(0o755)
    monkeypatch.setattr("sys.executable", str(interpreter))

    with pytest.raises(AgentError, match="does not start on this machine") as refused:
        await model.serve()
    assert refused.value.code == "no_model"
    assert not model.is_running
