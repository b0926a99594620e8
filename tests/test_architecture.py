"""Who may write what, read from the code itself."""

import ast
import gc
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
WRITER = "agents/transactions.py"
OWNED = {"status", "phase", "last_seq", "completed_seq", "phase_count"}
ROWS = {"ExecutionEvent", "PhaseTransition"}
RECORDS = {"AgentExecution", *ROWS}
MAKERS = {"create", "bulk_create", "get_or_create", "update_or_create", "acreate", "abulk_create", "aget_or_create"}
CHANGERS = {"update", "aupdate", "bulk_update", "abulk_update"}


def sources() -> Iterator[tuple[str, ast.Module]]:
    for folder in ("agents", "notifications", "netra"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            if "migrations" not in path.parts:
                yield str(path.relative_to(ROOT)), parse(path)


@cache
def parse(path: Path) -> ast.Module:
    """Without the garbage collector, which Python 3.11 cannot bear while it builds a tree (python/cpython#106905)."""
    gc.disable()
    try:
        return ast.parse(path.read_text())
    finally:
        gc.enable()


def keywords(call: ast.Call) -> set[str]:
    return {keyword.arg for keyword in call.keywords if keyword.arg}


def written_by(call: ast.Call) -> set[str]:
    """The owned columns that a call sets: `….update(status=…)`, `bulk_update(rows, ["status"])`."""
    if not isinstance(call.func, ast.Attribute) or call.func.attr not in CHANGERS:
        return set()
    named = {node.value for argument in call.args for node in ast.walk(argument) if isinstance(node, ast.Constant)}
    return OWNED & (keywords(call) | {name for name in named if isinstance(name, str)})


def names_in(node: ast.AST) -> set[str]:
    found = {part.id for part in ast.walk(node) if isinstance(part, ast.Name)}
    return found | {part.attr for part in ast.walk(node) if isinstance(part, ast.Attribute)}


def made_by(call: ast.Call) -> set[str]:
    """The record classes of which a call makes rows, by name or through a relation."""
    if isinstance(call.func, ast.Name):
        return RECORDS & {call.func.id}
    if isinstance(call.func, ast.Attribute) and call.func.attr in MAKERS:
        names = names_in(call.func.value)
        related = {"events": "ExecutionEvent", "transitions": "PhaseTransition", "runs": "AgentExecution"}
        return RECORDS & (names | {related[name] for name in names & set(related)})
    return set()


def offences(tree: ast.Module) -> list[str]:
    """Lines of a module that write what only agents/transactions.py may write."""
    nodes = list(ast.walk(tree))
    return [
        *(f"{node.lineno}: {what}" for node in nodes if isinstance(node, ast.Call) for what in wrongs_of(node)),
        *(
            f"{target.lineno}: assigns {target.attr}"
            for node in nodes
            for target in targets_of(node)
            if isinstance(target, ast.Attribute) and target.attr in OWNED and not is_self(target.value)
        ),
    ]


def wrongs_of(call: ast.Call) -> Iterator[str]:
    if columns := written_by(call):
        yield f"updates {sorted(columns)}"
    if rows := made_by(call) & ROWS:
        yield f"makes {sorted(rows)}"
    if "AgentExecution" in made_by(call) and (columns := OWNED & keywords(call)):
        yield f"makes a run with {sorted(columns)}"


def targets_of(node: ast.AST) -> list[ast.expr]:
    if isinstance(node, ast.Assign):
        return node.targets
    return [node.target] if isinstance(node, ast.AugAssign | ast.AnnAssign) else []


def is_self(node: ast.expr) -> bool:
    return isinstance(node, ast.Name) and node.id == "self"


def test_nothing_but_transactions_writes_status_phase_seq_or_events():
    found = {path: offences(tree) for path, tree in sources() if path != WRITER}

    assert {path: lines for path, lines in found.items() if lines} == {}


def test_transactions_does_write_them():
    tree = parse(ROOT / WRITER)
    text = (ROOT / WRITER).read_text()

    assert [line for line in offences(tree) if "updates" in line]
    assert all(f"{model}, " in text for model in ROWS)


@pytest.mark.parametrize(
    "code",
    [
        "AgentExecution.objects.filter(pk=1).update(status='failed')",
        "run.phase = 'failed'",
        "run.last_seq += 1",
        "ExecutionEvent.objects.create(execution=run, seq=1)",
        "run.events.create(seq=1)",
        "ExecutionEvent(execution=run)",
        "PhaseTransition.objects.bulk_create(rows)",
        "AgentExecution.objects.bulk_update(rows, ['phase_count'])",
        "AgentExecution.objects.create(status='running')",
    ],
)
def test_a_second_writer_would_be_seen(code):
    assert offences(ast.parse(code))


def test_registration_makes_a_run_with_defaults_only_and_nobody_else_makes_one():
    makers = {
        path: [node for node in ast.walk(tree) if isinstance(node, ast.Call) and "AgentExecution" in made_by(node)]
        for path, tree in sources()
    }
    (call,) = makers.pop("agents/registration.py")

    assert not any(makers.values())
    assert not OWNED & keywords(call)
    assert None not in [keyword.arg for keyword in call.keywords]  # no **fields either


INVENTED = "netra/generated_runs.py"
"""Makes runs for tests, which no agent has executed."""


def test_agent_completed_is_built_in_one_place():
    built = [
        (path, node.lineno)
        for path, tree in sources()
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and "AgentCompleted" in names_in(node.func)
    ]

    assert [path for path, _ in built] == ["notifications/notifier.py", INVENTED]


def test_only_a_command_knows_the_runs_that_never_ran():
    knowing = [
        path
        for path, tree in sources()
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.module == "netra.generated_runs"
    ]

    assert knowing == ["netra/management/commands/generate_runs.py"]


def test_agent_completed_is_sent_from_one_place_and_runs_are_ended_from_one():
    sent = [
        (path, name)
        for path, tree in sources()
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and (name := node.func.attr) in ("notify_agent_completed", "complete_execution")
    ]

    assert sent == [
        ("agents/execution.py", "notify_agent_completed"),
        ("notifications/notifier.py", "complete_execution"),
    ]
