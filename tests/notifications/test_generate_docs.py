import json
from datetime import UTC, datetime
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from jsonschema import Draft202012Validator, ValidationError

from agents import events, phases
from notifications import protocol, schemas

DOCS = Path(__file__).parents[2] / "docs"
NOW = datetime(2026, 11, 21, 9, 0, tzinfo=UTC)


def generate(*arguments: str) -> str:
    out = StringIO()
    call_command("generate_docs", *arguments, stdout=out)
    return out.getvalue()


def validate(frame: str) -> None:
    """Against the published schema of its type."""
    message = json.loads(frame)
    schema = json.loads((DOCS / "schemas" / f"{message['type']}.json").read_text())
    Draft202012Validator.check_schema(schema)
    Draft202012Validator(schema).validate(message)


@pytest.fixture
def docs(tmp_path: Path) -> Path:
    generate("--folder", str(tmp_path))
    return tmp_path


class TestCommand:
    def test_what_is_in_the_repository_is_up_to_date(self):
        assert generate("--check") == ""

    def test_a_second_time_there_is_nothing_to_write(self, docs):
        assert generate("--folder", str(docs)) == ""

    def test_a_stale_file_is_named(self, docs):
        (docs / "phases.md").write_text("# Phases\n")
        (docs / "schemas" / "ping.json").unlink()

        with pytest.raises(CommandError, match=r"(?s)run `manage.py generate_docs`.*phases\.md.*ping\.json") as error:
            generate("--check", "--folder", str(docs))

        assert "asyncapi.json" not in str(error.value)

    def test_a_schema_of_no_message_is_stale_and_goes(self, docs):
        left_over = docs / "schemas" / "weather.json"
        left_over.write_text("{}")

        with pytest.raises(CommandError, match="weather.json"):
            generate("--check", "--folder", str(docs))
        generate("--folder", str(docs))

        assert not left_over.exists()

    def test_checking_writes_nothing(self, tmp_path):
        with pytest.raises(CommandError, match="asyncapi.json"):
            generate("--check", "--folder", str(tmp_path))

        assert list(tmp_path.iterdir()) == []


class TestPhases:
    def test_every_phase_has_its_row_and_every_step_its_arrow(self, docs):
        text = (docs / "phases.md").read_text()

        for phase in phases.AgentExecutionPhase:
            assert f"\n| `{phase}` | " in text
        for source, target in (("created", "websocket_setup"), ("completing", "completed")):
            assert f"    {source} --> {target}\n" in text
        assert "may also go to failed, timed_out, cancelled, lost." in text


class TestAsyncApi:
    @pytest.fixture
    def document(self, docs: Path) -> dict[str, Any]:
        document: dict[str, Any] = json.loads((docs / "asyncapi.json").read_text())
        return document

    def test_every_reference_leads_somewhere(self, document):
        references = list(references_in(document))

        assert len(references) > 50
        for reference in references:
            assert isinstance(resolve(document, reference), dict), reference

    def test_every_message_has_an_operation(self, document):
        named: dict[str, set[str]] = {"receive": set(), "send": set()}
        for operation in document["operations"].values():
            named[operation["action"]] |= {each["$ref"].rpartition("/")[2] for each in operation["messages"]}

        assert {"start_agent", "cancel_run", "resume", "ack", "ping"} <= named["receive"]
        assert named["receive"] | named["send"] == set(schemas.types()) == set(document["channels"]["chat"]["messages"])
        assert not named["receive"] & named["send"]

    def test_the_channel_says_what_the_close_codes_mean(self, document):
        for code in (1012, 4400, 4401, 4408, 4429):
            assert f"- {code}: " in document["channels"]["chat"]["description"]


def references_in(value: Any) -> list[str]:
    if isinstance(value, list):
        return [reference for part in value for reference in references_in(part)]
    if not isinstance(value, dict):
        return []
    own = [value["$ref"]] if isinstance(value.get("$ref"), str) else []
    return own + [reference for part in value.values() for reference in references_in(part)]


def resolve(document: Any, reference: str) -> Any:
    assert reference.startswith("#/")
    for name in reference[2:].split("/"):
        document = document[name]
    return document


METADATA = events.RunMetadata(correlation_id="corr_a", run_id="run_a", timeout=40, tier="free", streaming=True)
RESULT = events.RunResult(
    success=False, output=None, total_duration_ms=3.5, phase_count=5, warnings=["late"], metadata=METADATA
)
SNAPSHOT = protocol.RunSnapshot(
    run_id="run_a",
    thread_id="thread_a",
    parent_run_id=None,
    agent_name="analyst",
    message="Go.",
    status="running",
    phase="thinking",
    attempt=1,
    last_seq=9,
    created_at=NOW,
    started_at=NOW,
    completed_at=None,
    result=None,
    error=None,
    phases=[
        protocol.PhaseStep(from_phase="created", to_phase="websocket_setup", at=NOW, duration_ms=0.2, event_seq=None)
    ],
)
MESSAGES: list[protocol.ServerMessage] = [
    protocol.ConnectionEstablished(
        protocol=1,
        connection_id="conn_a",
        user_id="7",
        server_time=NOW,
        heartbeat_s=20,
        runs=[
            protocol.LiveRun(
                run_id="run_a", thread_id="thread_a", agent_name="a", status="running", phase="thinking", last_seq=2
            )
        ],
    ),
    protocol.RunAccepted(request_id="r", run_id="run_a", thread_id="thread_a", duplicate=False, queue_position=0),
    protocol.CancelAccepted(run_id="run_a", status="running"),
    protocol.ApprovalAccepted(run_id="run_a", approval_id="approval_a", decision="rejected"),
    protocol.CaughtUp(id=None, runs={"run_a": 3}),
    protocol.Gap(run_id="run_a", missed_from=1, missed_to=7, snapshot=SNAPSHOT),
    protocol.Head(runs={}),
    protocol.ErrorFrame(code="rate_limited", message="Wait.", retry_after=0.5, request_id="r"),
    protocol.Pong(id="p", server_time=NOW),
]
EVENTS: list[events.Event] = [
    events.AgentStarted(message="Go.", attempt=1, timeout=40, tier="free", streaming=False, correlation_id="corr_a"),
    events.AgentThinking(reasoning="Hm.", step_number=1, total_steps=3, progress_percentage=33.3),
    events.ToolExecuting(tool_call_id="tool_a", tool_name="echo", arguments={"deep": [1, {"a": None}]}),
    events.ToolProgress(tool_call_id="tool_a", message="half"),
    events.ToolCompleted(tool_call_id="tool_a", tool_name="echo", status="success", duration_ms=1.5, result=[1]),
    events.PartialResult(message_id="msg_a", delta="Hi", is_complete=True),
    events.ApprovalRequested(
        approval_id="approval_a", reason="Shall I?", tool_name=None, arguments={"to": "bob"}, expires_at=NOW
    ),
    events.ApprovalResolved(approval_id="approval_a", decision="expired", arguments=None),
    events.RunRecovered(attempt=2, reason="The worker died."),
    events.AgentCompleted(
        status="failed", result=RESULT, error=events.Problem("boom", "It failed."), execution_time_ms=3.5
    ),
]


def frame_of(event: events.Event) -> str:
    envelope = events.Envelope(
        type=event.type, run_id="run_a", thread_id="thread_a", agent_name="a", seq=1, timestamp=NOW, data=event
    )
    return events.encode_frame(envelope).text


class TestSchemas:
    def test_there_is_an_example_here_of_every_message_and_event(self):
        assert {type(message) for message in MESSAGES} == set(schemas.SERVER)
        assert {type(event) for event in EVENTS} == set(schemas.EVENTS)

    @pytest.mark.parametrize("message", MESSAGES, ids=schemas.type_of)
    def test_what_the_protocol_sends_is_valid(self, message):
        validate(protocol.encode(message))

    @pytest.mark.parametrize("event", EVENTS, ids=schemas.type_of)
    def test_events_are_valid(self, event):
        validate(frame_of(event))

    def test_an_event_with_the_data_of_another_is_not(self):
        frame = json.loads(frame_of(EVENTS[0]))

        with pytest.raises(ValidationError):
            validate(json.dumps({**frame, "type": "tool_progress"}))

    @pytest.mark.parametrize(
        "message",
        [
            {"type": "start_agent", "request_id": "r", "agent": "a", "message": "m", "on_busy": "interrupt"},
            {"type": "start_agent", "request_id": "r", "agent": "a"},
            {"type": "start_agent", "request_id": "", "agent": "a", "message": "m"},
            {"type": "start_agent", "request_id": "r", "agent": "a", "message": "m", "mesage": "m"},
            {"type": "start_agent", "request_id": "r", "agent": "a", "message": "m", "params": []},
            {"type": "resume", "cursors": {"run_a": 0}},
            {"type": "resume", "cursors": {"run_a": -1}},
            {"type": "ack", "cursors": {"run_a": 1.5}},
            {"type": "ping"},
            {"type": "ping", "id": "x" * 65},
            {"type": "cancel_run", "run_id": 7},
        ],
        ids=json.dumps,
    )
    def test_the_server_and_the_schemas_agree_on_what_clients_may_say(self, message):
        text = json.dumps(message)

        is_read = protocol.read(text).error is None

        if is_read:
            validate(text)
        else:
            with pytest.raises(ValidationError):
                validate(text)
