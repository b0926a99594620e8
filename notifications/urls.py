from django.contrib.auth.views import LoginView, LogoutView
from django.urls import path

from notifications import views

urlpatterns = [
    path("", views.chat, name="chat"),
    path("login/<str:secret>/", views.login_link, name="login_link"),
    path("api/v1/tickets", views.issue_ticket, name="tickets"),
    path("accounts/login/", LoginView.as_view(redirect_authenticated_user=True), name="login"),
    path("accounts/logout/", LogoutView.as_view(), name="logout"),
]
