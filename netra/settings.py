"""Django's settings. What differs between installations is an environment variable: netra/environment.py."""

import os
from pathlib import Path

import django_stubs_ext

from netra import channel_layers, environment, log

django_stubs_ext.monkeypatch()  # Django's generic classes, such as ModelAdmin[Model], in Python as in mypy

BASE_DIR = Path(__file__).resolve().parent.parent
DATA_DIR = environment.folder("NETRA_DATA_DIR", BASE_DIR / ".netra")

# — who may reach this server, and as what

DEBUG = environment.boolean("DEBUG")
HOST = environment.text("HOST", "127.0.0.1")
PORT = environment.integer("PORT", 8000, most=65_535)
SECRET_KEY = environment.text("SECRET_KEY") or environment.secret_file(DATA_DIR / "secret_key")
LOCAL_HOSTS = ["localhost", "127.0.0.1", "[::1]"]
EVERY_INTERFACE = {"0.0.0.0", "::"}  # noqa: S104
ALLOWED_HOSTS = environment.names(
    "ALLOWED_HOSTS", LOCAL_HOSTS if HOST in {*LOCAL_HOSTS, *EVERY_INTERFACE} else [*LOCAL_HOSTS, HOST]
)
CSRF_TRUSTED_ORIGINS = environment.names("CSRF_TRUSTED_ORIGINS")
NETRA_HTTPS = environment.boolean("NETRA_HTTPS")
if NETRA_HTTPS and not DEBUG:
    # A proxy ends TLS in front of Netra and says so; cookies never travel in the clear.
    SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
    SECURE_SSL_REDIRECT = True
    SECURE_HSTS_SECONDS = environment.integer("NETRA_HSTS_SECONDS", 3600)
    SESSION_COOKIE_SECURE = True
    CSRF_COOKIE_SECURE = True
# Whether the other hosts of a domain speak HTTPS is not Netra's to say: no includeSubDomains, no preload.
SILENCED_SYSTEM_CHECKS = ["security.W005", "security.W021"]
NETRA_METRICS_TOKEN = environment.text("NETRA_METRICS_TOKEN")  # without one /metrics answers this machine only
# A webhook is called when more runs than these lack agent_completed for longer: docs/console.md
NETRA_ALERT_URL = environment.endpoint("NETRA_ALERT_URL")
NETRA_ALERT_SECRET = environment.text("NETRA_ALERT_SECRET")
NETRA_ALERT_OLDER_THAN_SECONDS = environment.seconds("NETRA_ALERT_OLDER_THAN_SECONDS", 60)
NETRA_ALERT_MAX_RUNS = environment.integer("NETRA_ALERT_MAX_RUNS", 0, least=0)
NETRA_ALERT_ONLY_FROZEN = environment.boolean("NETRA_ALERT_ONLY_FROZEN", True)

# — the application

INSTALLED_APPS = [
    "netra.apps.DaphneConfig",  # first: it brings its own runserver
    "netra.apps.ConsoleConfig",  # Django's admin
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "channels",
    "agents.apps.AgentsConfig",
    "notifications.apps.NotificationsConfig",
    "netra.apps.NetraConfig",
    *environment.apps("NETRA_APPS"),  # yours: their agents.py are found
]
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "netra.static_files.StaticFilesMiddleware",
    "notifications.csp.ContentSecurityPolicyMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]
ROOT_URLCONF = "netra.urls"
ASGI_APPLICATION = "netra.asgi.application"
TEST_RUNNER = "netra.test_runner.PytestRunner"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
        },
    },
]

LOGIN_URL = "/accounts/login/"
LOGIN_REDIRECT_URL = "/"
LOGOUT_REDIRECT_URL = LOGIN_URL
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{validator}"}
    for validator in (
        "UserAttributeSimilarityValidator",
        "MinimumLengthValidator",
        "CommonPasswordValidator",
        "NumericPasswordValidator",
    )
]

LANGUAGE_CODE = "en-us"
TIME_ZONE = "UTC"
USE_TZ = True

# — database, channel layer, static files, log

DATABASES = {
    "default": environment.database(
        "DATABASE_URL",
        default_file=DATA_DIR / "netra.sqlite3",
        # Named after the process: test runs of one checkout do not meet.
        test_file=DATA_DIR / f"test-{os.getpid()}.sqlite3",
        connections=environment.integer("NETRA_DATABASE_CONNECTIONS", 20, least=2),
        statement_seconds=environment.integer("NETRA_STATEMENT_SECONDS", 30, least=0),
    )
}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
NETRA_TEST_AGENTS = environment.boolean("NETRA_TEST_AGENTS")
CHANNEL_LAYERS = {
    "default": channel_layers.faulty_layer(
        "NETRA_TEST_LAYER_FAULTS",
        channel_layers.channel_layer("REDIS_URL", secret_key=SECRET_KEY),
        is_test=NETRA_TEST_AGENTS,
    )
}
# With a database and a layer that reach other processes, agents run in workers (manage.py agent_worker).
NETRA_RUNS_AGENTS = environment.boolean(
    "NETRA_RUNS_AGENTS", not (os.environ.get("REDIS_URL") and "postgresql" in DATABASES["default"]["ENGINE"])
)
NETRA_REDIS_HOSTS = len(channel_layers.redis_hosts("REDIS_URL"))

STATIC_URL = "/static/"
STATIC_ROOT = DATA_DIR / "static"
STATIC_ROOT.mkdir(exist_ok=True)  # whitenoise warns of a folder that is not there
# Names without a hash, asked for anew each time (mostly a 304): modules that import each other by relative
# paths then always come from one release.
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {"BACKEND": "whitenoise.storage.CompressedStaticFilesStorage"},
}
WHITENOISE_USE_FINDERS = DEBUG
WHITENOISE_AUTOREFRESH = DEBUG
WHITENOISE_MAX_AGE = 0
WHITENOISE_ALLOW_ALL_ORIGINS = False

LOGGING_CONFIG = None
log.configure(
    level=environment.choice("NETRA_LOG_LEVEL", "INFO", log.LEVELS),
    as_json=environment.boolean("NETRA_LOG_JSON"),
)

# — the language model of the agent `assistant`

NETRA_LLM_BASE_URL = environment.url("NETRA_LLM_BASE_URL")  # empty: the local model
NETRA_LLM_MODEL = environment.text("NETRA_LLM_MODEL")
NETRA_LLM_API_KEY = environment.text("NETRA_LLM_API_KEY")
NETRA_LLM_TOOLS = environment.choice("NETRA_LLM_TOOLS", "NATIVE", ("NATIVE", "JSON", "NONE"))
NETRA_LLM_TIMEOUT_SECONDS = environment.seconds("NETRA_LLM_TIMEOUT_SECONDS", 25)  # without a word of the model
NETRA_LLM_MAX_TOKENS = environment.integer("NETRA_LLM_MAX_TOKENS", 1_024)  # of one answer
NETRA_LLM_HISTORY_CHARACTERS = environment.integer("NETRA_LLM_HISTORY_CHARACTERS", 24_000, least=0)
NETRA_LLM_LOCAL = environment.boolean("NETRA_LLM_LOCAL", True)
NETRA_LLM_WARM = environment.boolean("NETRA_LLM_WARM")

# — limits of the domain; times in seconds

NETRA_TIERS = environment.numbers_by_name("NETRA_TIERS")  # changes to the table in agents/tiers.py
NETRA_DEFAULT_TIER = environment.text("NETRA_DEFAULT_TIER", "free")
NETRA_HEARTBEAT_SECONDS = environment.seconds("NETRA_HEARTBEAT_SECONDS", 20)
NETRA_LEASE_SECONDS = environment.seconds("NETRA_LEASE_SECONDS", 6)
NETRA_LEASE_RENEW_SECONDS = environment.seconds("NETRA_LEASE_RENEW_SECONDS", 2)
NETRA_STOP_GRACE_SECONDS = environment.seconds("NETRA_STOP_GRACE_SECONDS", 10)
NETRA_KEEP_EVENTS = environment.text("NETRA_KEEP_EVENTS", "90d")  # what `prune_events` keeps: 90d, 12h, 30m
NETRA_RUNS_TOTAL = environment.integer("NETRA_RUNS_TOTAL", 100)
NETRA_RUNS_PER_USER = environment.integer("NETRA_RUNS_PER_USER", 20)
NETRA_LIVE_RUNS_PER_USER = environment.integer("NETRA_LIVE_RUNS_PER_USER", 100)
NETRA_SOCKETS_PER_USER = environment.integer("NETRA_SOCKETS_PER_USER", 50)
NETRA_MESSAGES_PER_MINUTE = environment.integer("NETRA_MESSAGES_PER_MINUTE", 600)
NETRA_STARTS_PER_MINUTE = environment.integer("NETRA_STARTS_PER_MINUTE", 30)
NETRA_BREAKER_FAILURES = environment.integer("NETRA_BREAKER_FAILURES", 5, least=0, most=100)  # 0: no circuit breaker
NETRA_BREAKER_WINDOW_SECONDS = environment.seconds("NETRA_BREAKER_WINDOW_SECONDS", 60)
NETRA_BREAKER_COOLDOWN_SECONDS = environment.seconds("NETRA_BREAKER_COOLDOWN_SECONDS", 30)
NETRA_PROTOCOL_ERRORS = environment.integer("NETRA_PROTOCOL_ERRORS", 20)
