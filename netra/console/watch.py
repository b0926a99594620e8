"""One run of any user, watched by an operator: the application's own socket and protocol, for reading only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar, Final

import msgspec
from django.contrib.auth import get_user_model

from agents.errors import InvalidMessage
from agents.ids import Prefix, is_id
from agents.models import AgentExecution
from netra.console.permissions import VIEW_CONTENT, VIEW_RUNS
from netra.console.veil import veiled
from notifications import protocol
from notifications.authentication import authenticate
from notifications.consumers import ChatConsumer
from notifications.receiver import MessageReceiver
from notifications.sender import EventSender

WATCH_PATH: Final = r"^ws/console/runs/(?P<run_id>run_[0-9a-z]{26})/?$"


class WatchReceiver(MessageReceiver):
    run_id: str

    async def _act_on(self, message: protocol.ClientMessage) -> None:
        match message:
            case protocol.Resume() | protocol.Ack():
                mine = {run_id: seq for run_id, seq in message.cursors.items() if run_id == self.run_id}
                await super()._act_on(msgspec.structs.replace(message, cursors=mine))
            case protocol.Ping():
                await super()._act_on(message)
            case _:
                raise InvalidMessage("Whoever watches a run may say resume, ack and ping.", field="type")


class RunWatch(ChatConsumer):
    """For staff with a session who may view runs. Without `view_content` no frame says what the run does."""

    receiver_class: ClassVar[type[MessageReceiver]] = WatchReceiver
    run_id: str
    is_watching: ClassVar[bool] = True
    _shows_content: bool

    def _let_in(self) -> bool:
        credential = authenticate(dict(self.scope))
        run_id = self.scope["url_route"]["kwargs"]["run_id"]
        if credential is None or credential.session_key is None or not is_id(run_id, Prefix.RUN):
            return False
        user = get_user_model().objects.get(pk=credential.user_id)
        run = AgentExecution.objects.filter(run_id=run_id).first()
        if run is None or not user.is_staff or not user.has_perm(VIEW_RUNS):
            return False
        self.credential, self.user_id, self.run_id = credential, run.user_id, run_id
        self._shows_content = user.has_perm(VIEW_CONTENT)
        return True

    def _read_runs(self) -> tuple[list[protocol.LiveRun], dict[str, int]]:
        run = AgentExecution.objects.select_related("thread").get(run_id=self.run_id)
        listed = protocol.LiveRun(
            run_id=run.run_id,
            thread_id=run.thread.thread_id,
            agent_name=run.agent_name,
            status=run.status,
            phase=run.phase,
            last_seq=run.last_seq,
        )
        return [listed] if run.completed_at is None else [], {run.run_id: run.last_seq}

    def _receiver_for(self, sender: EventSender) -> MessageReceiver:
        receiver = super()._receiver_for(sender)
        assert isinstance(receiver, WatchReceiver)
        receiver.run_id = self.run_id
        return receiver

    def take_events(self, run_id: str, first_seq: int, texts: Sequence[str]) -> None:
        if run_id == self.run_id:
            super().take_events(run_id, first_seq, texts)

    def learn_heads(self, heads: Mapping[str, int], *, is_heartbeat: bool) -> None:
        mine = {run_id: head for run_id, head in heads.items() if run_id == self.run_id}
        if mine or is_heartbeat:
            super().learn_heads(mine, is_heartbeat=is_heartbeat)

    async def _send_text(self, text: str) -> None:
        """The one way out, so that nothing is shown by another."""
        await super()._send_text(text if self._shows_content else veiled(text))
