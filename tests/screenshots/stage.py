"""Sets the scene of the console's pictures, in the shell of the Netra that is photographed: a worker has just died."""

from datetime import timedelta

from django.contrib.auth import get_user_model
from django.db.models import F
from django.utils import timezone

from agents.models import AgentExecution, Worker
from notifications.models import ConnectedSocket, SocketProcess

NAMES = """mara jonas ines tomek aylin pavel lucia henrik sofia emre noor ivo clara samir greta luca yuki amara oskar
dana""".split()
now = timezone.now()
live = AgentExecution.objects.live().order_by("pk")


def ago(seconds: float):
    return now - timedelta(seconds=seconds)


for name, user in zip(
    NAMES, get_user_model().objects.filter(runs__isnull=False).distinct().order_by("pk"), strict=False
):
    get_user_model().objects.filter(pk=user.pk).update(username=name)

Worker.objects.all().delete()
for host, silence, running in (("agents-1", 0, 14), ("agents-2", 1, 12), ("agents-3", 42, 9)):
    Worker.objects.create(
        owner=f"{host}-of-pictures",
        host=host,
        pid=7,
        started_at=ago(50_000),
        seen_at=ago(silence),
        capacity=50,
        running=running,
        accepting=True,
    )
SocketProcess.objects.filter(host__startswith="web-").delete()
for host, sockets in (("web-1", 118), ("web-2", 104)):
    process = SocketProcess.objects.create(host=host, pid=7, started_at=ago(50_000), seen_at=now)
    ConnectedSocket.objects.bulk_create(
        ConnectedSocket(connection_id=f"{host}-{n}", process=process, user_id=1, opened_at=now) for n in range(sockets)
    )

held = 0
for number, run in enumerate(live):
    is_held = run.status == "running"
    held += is_held
    kind = held % 14
    shift = {"created_at": ago(4 + number % 9), "last_progress_at": ago(number % 7), "owner": ""}
    if is_held:
        shift |= {"owner": f"agents-{1 + number % 2}-of-pictures", "lease_expires_at": now + timedelta(minutes=1)}
        shift["deadline_at"] = now + timedelta(seconds=36 - number % 9)
    if is_held and kind == 5:
        shift |= {"owner": "agents-3-of-pictures", "lease_expires_at": ago(36), "last_progress_at": ago(44)}
        shift |= {"created_at": ago(52), "deadline_at": now + timedelta(seconds=8)}
    elif is_held and kind == 7:
        shift |= {"created_at": ago(31), "last_progress_at": ago(19), "deadline_at": now + timedelta(seconds=11)}
    elif is_held and kind == 10:
        shift["cancel_requested_at"] = ago(2)
    AgentExecution.objects.filter(pk=run.pk).update(**shift)

# What has ended most recently ended just now.
last = AgentExecution.objects.filter(completed_at__isnull=False).latest("pk")
gap = now - (last.completed_at or now)
if gap > timedelta(minutes=1):
    ended = AgentExecution.objects.filter(pk__gt=last.pk - 500, completed_at__isnull=False)
    ended.update(
        completed_at=F("completed_at") + gap, started_at=F("started_at") + gap, created_at=F("created_at") + gap
    )
