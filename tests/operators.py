"""Operators for tests."""

from __future__ import annotations

from agents.agreement import Agreement
from agents.interventions import Interventions, Operator
from agents.models import OperatorAction
from tests.runs import Workshop

OPERATOR = Operator(by_id=1, by_name="op", reason="It hangs.")
AUDIT = OperatorAction._meta.db_table


def make_interventions(workshop: Workshop) -> Interventions:
    """Those of the workshop's web process."""
    return Interventions(registry=workshop.registry, agreement=agreement_of(workshop), bridge=workshop.bridge)


def agreement_of(workshop: Workshop) -> Agreement:
    return workshop.core._agreement
