"""The examples of docs/models.md do what it says."""

import re

import pytest

from agents import registry
from netra.testing.server import ROOT

CODE = dict(re.findall(r"```python\n# (\S+)\n(.*?)```", (ROOT / "docs" / "models.md").read_text(), re.DOTALL))


@pytest.fixture
def run(workshop, monkeypatch):
    """Registers what a file of the docs has, and runs the agent."""
    monkeypatch.setattr(registry, "_registry", workshop.registry)

    async def run(path, name, message, **changes):
        code = CODE[path]
        for old, new in changes.values():
            assert old in code
            code = code.replace(old, new)
        exec(compile(code, path, "exec"), {"__name__": path})  # noqa: S102 - our own docs
        return await workshop.execute(await workshop.claim(agent=name, message=message))

    return run


async def test_the_poet_uses_its_tool(run):
    log = await run("poets/agents.py", "poet", "Moon.", model=('"openai:gpt-5.2"', '"test"'))

    assert [frame["data"]["tool_name"] for frame in log if frame["type"] == "tool_executing"] == ["rhymes"]
    assert log[-1]["data"]["status"] == "completed"


async def test_the_reciter_says_it_again(run):
    log = await run("poets/reciting.py", "reciter", "one\ntwo")

    assert log[-1]["data"]["result"]["output"] == "one\ntwo\n"


async def test_the_drafter_counts(run):
    log = await run("poets/drafting.py", "drafter", "A moon in June")

    assert [frame["data"]["result"] for frame in log if frame["type"] == "tool_completed"] == [5]
    assert log[-1]["data"]["result"]["output"] == "It has 5 syllables."
