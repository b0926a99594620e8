from django.contrib.auth.views import LoginView, LogoutView
from django.urls import path

from notifications import api, views

urlpatterns = [
    path("", views.chat, name="chat"),
    path("threads/<str:thread_id>", views.chat, name="thread"),
    path("login/<str:secret>/", views.login_link, name="login_link"),
    path("api/v1/tickets", views.issue_ticket, name="tickets"),
    path("api/v1/agents", api.agents_view, name="agents"),
    path("api/v1/threads", api.threads_view, name="threads"),
    path("api/v1/threads/<str:thread_id>", api.thread_view, name="thread_api"),
    path("api/v1/runs/<str:run_id>/approvals/<str:approval_id>", api.approval_view, name="approval"),
    path("accounts/login/", LoginView.as_view(redirect_authenticated_user=True), name="login"),
    path("accounts/logout/", LogoutView.as_view(), name="logout"),
]
