from typing import Any

from django.contrib import admin, messages
from django.forms import ModelForm
from django.http import HttpRequest

from notifications import credentials
from notifications.models import AccessToken


@admin.register(AccessToken)
class AccessTokenAdmin(admin.ModelAdmin[AccessToken]):
    """Makes API tokens and revokes any secret. A secret is shown once, when it is made; nothing is edited."""

    list_display = ("user", "kind", "label", "created_at", "expires_at", "last_used_at")
    list_filter = ("kind",)
    list_select_related = ("user",)
    search_fields = ("user__username", "label")
    date_hierarchy = "created_at"

    def get_fields(self, request: HttpRequest, obj: AccessToken | None = None) -> tuple[str, ...]:
        if obj is None:
            return ("user", "label", "expires_at")
        return self.list_display

    def has_change_permission(self, request: HttpRequest, obj: AccessToken | None = None) -> bool:
        return False

    def save_model(self, request: HttpRequest, obj: AccessToken, form: ModelForm[AccessToken], change: Any) -> None:
        obj.kind = AccessToken.Kind.API_TOKEN
        secret = credentials.new_secret(AccessToken.Kind.API_TOKEN)
        obj.digest = credentials.digest(secret)
        super().save_model(request, obj, form, change)
        messages.warning(request, f"The token of {obj.user}, shown only now: {secret}")
