"""The JavaScript client as `npm publish` in its folder would send it out."""

import json
import re
from pathlib import Path

FOLDER = Path(__file__).parents[2] / "notifications" / "static" / "notifications"
PACKAGE = json.loads((FOLDER / "package.json").read_text())


def imports_of(name: str) -> set[str]:
    """The modules that a module needs, and those that they need."""
    direct = set(re.findall(r'^import .* from "(.+)";$', (FOLDER / name).read_text(), re.MULTILINE))
    assert all(path.startswith("./") for path in direct), f"{name} depends on a package"
    names = {path.removeprefix("./") for path in direct}
    return names | {further for each in names for further in imports_of(each)}


def test_the_package_holds_the_client_and_all_that_it_imports():
    entry = PACKAGE["exports"].removeprefix("./")

    assert set(PACKAGE["files"]) == {entry, *imports_of(entry)}
    assert "dependencies" not in PACKAGE


def test_its_types_are_said_in_the_code():
    assert all((FOLDER / name).read_text().startswith("// @ts-check\n") for name in PACKAGE["files"])
