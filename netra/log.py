"""One log for structlog and the standard library: lines for people, or JSON with NETRA_LOG_JSON=1."""

import logging.config
import sys
from typing import Any

import structlog

LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")

TRACEBACK = structlog.tracebacks.ExceptionDictTransformer(show_locals=False)  # they may hold secrets


def configure(*, level: str, as_json: bool) -> None:
    """Sends every log line to standard error. Ids bound by `structlog.contextvars` stand on each."""
    shared = _shared_processors()
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    logging.config.dictConfig(_standard_library(level, as_json, shared))


def _shared_processors() -> list[Any]:
    return [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.add_log_level,
        structlog.stdlib.ExtraAdder(allow=None),
        structlog.stdlib.PositionalArgumentsFormatter(),
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]


def _standard_library(level: str, as_json: bool, shared: list[Any]) -> dict[str, Any]:
    formatter = {
        "()": structlog.stdlib.ProcessorFormatter,
        "foreign_pre_chain": shared,
        "processors": [structlog.stdlib.ProcessorFormatter.remove_processors_meta, *_renderers(as_json)],
    }
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"netra": formatter},
        "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "netra"}},
        "root": {"level": level, "handlers": ["stderr"]},
        "loggers": {"asyncio": {"level": "WARNING"}, "twisted": {"level": "WARNING"}, "httpx2": {"level": "WARNING"}},
    }


def _renderers(as_json: bool) -> list[Any]:
    if as_json:
        return [structlog.processors.ExceptionRenderer(TRACEBACK), structlog.processors.JSONRenderer()]
    return [
        structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), exception_formatter=structlog.dev.plain_traceback)
    ]
