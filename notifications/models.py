from typing import ClassVar

from django.conf import settings
from django.db import models
from django.db.models import Q


class AccessToken(models.Model):
    """A secret that lets its bearer act as a user; only the secret's digest is kept."""

    class Kind(models.TextChoices):
        API_TOKEN = "api_token", "API token"
        """For programs: `Authorization: Bearer …`, any number of times."""
        TICKET = "ticket", "WebSocket ticket"
        """Opens one socket from a page of another origin."""
        LOGIN_LINK = "login_link", "log-in link"
        """Logs a person in once, without a password."""

    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="access_tokens")
    kind = models.CharField(max_length=20, choices=Kind)
    # A plain SHA-256: the secrets are 256 random bits, there is nothing to guess that salt would slow.
    digest = models.CharField(max_length=64)
    # What a ticket was got with: its socket ends when that does.
    session_key = models.CharField(max_length=40, blank=True, editable=False)
    api_token = models.ForeignKey(
        "self", on_delete=models.CASCADE, null=True, blank=True, editable=False, related_name="tickets"
    )
    label = models.CharField(max_length=100, blank=True, help_text="What it is for.")
    created_at = models.DateTimeField(auto_now_add=True)
    expires_at = models.DateTimeField(null=True, blank=True, help_text="Empty: it never expires.")
    last_used_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        verbose_name = "access token"
        constraints: ClassVar[list[models.BaseConstraint]] = [
            models.UniqueConstraint(fields=["digest"], name="access_token_digest_unique"),
            models.CheckConstraint(
                condition=Q(kind__in=["api_token", "ticket", "login_link"]), name="access_token_kind_known"
            ),
            models.CheckConstraint(
                condition=Q(kind="api_token") | Q(expires_at__isnull=False),
                name="access_token_single_use_expires",
            ),
        ]
        indexes: ClassVar[list[models.Index]] = [
            models.Index(fields=["user", "kind"], name="access_token_user_kind"),
        ]

    def __str__(self) -> str:
        return f"{self.get_kind_display()} of {self.user}" + (f": {self.label}" if self.label else "")


class SocketProcess(models.Model):
    """A process that serves sockets. One that was killed stays until another one clears it away."""

    host = models.CharField(max_length=255)
    pid = models.PositiveIntegerField()
    started_at = models.DateTimeField()
    seen_at = models.DateTimeField(db_index=True)

    def __str__(self) -> str:
        return f"{self.host}:{self.pid}"


class ConnectedSocket(models.Model):
    """A socket, as its process told of it last. `places`: by run, what it was sent and what it acked, as JSON."""

    connection_id = models.CharField(max_length=40, unique=True)
    process = models.ForeignKey(SocketProcess, on_delete=models.CASCADE, related_name="sockets")
    # Without a constraint: a user who is deleted meanwhile must not keep the other sockets from being told of.
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="sockets", db_constraint=False
    )
    client = models.CharField(max_length=200, blank=True)
    opened_at = models.DateTimeField()
    places = models.TextField(default="{}")

    def __str__(self) -> str:
        return self.connection_id


class AlertState(models.Model):
    """Which process watches, until when, and what was told last: empty `alert_id`, that all is well."""

    name = models.CharField(max_length=32, unique=True)
    holder = models.CharField(max_length=255, blank=True)
    held_until = models.DateTimeField()
    alert_id = models.CharField(max_length=40, blank=True)

    def __str__(self) -> str:
        return self.name
