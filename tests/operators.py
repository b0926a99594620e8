"""Operators for tests, and the audit trail that they leave behind."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from django.db import connection

from agents.agreement import Agreement
from agents.interventions import Interventions, Operator
from agents.keeping import keep_rows, release_rows
from agents.models import OperatorAction
from tests.runs import Workshop

OPERATOR = Operator(by_id=1, by_name="op", reason="It hangs.")
AUDIT = OperatorAction._meta.db_table


def make_interventions(workshop: Workshop) -> Interventions:
    """Those of the workshop's web process."""
    return Interventions(registry=workshop.registry, agreement=agreement_of(workshop), bridge=workshop.bridge)


def agreement_of(workshop: Workshop) -> Agreement:
    return workshop.core._agreement


@contextmanager
def emptied_audit() -> Iterator[None]:
    """For tests whose database is flushed, which SQLite does row by row: the audit trail would refuse that."""
    yield
    with connection.schema_editor() as editor:
        release_rows(AUDIT, editor)
        OperatorAction.objects.all().delete()
        keep_rows(AUDIT, editor)
