"""The operations console: Django's admin, with the pages of `netra.console`."""

from django.contrib import admin

from agents.models import AgentExecution, Approval, OperatorAction, Thread
from netra.console.approvals import ApprovalAdmin
from netra.console.audit import OperatorActionAdmin
from netra.console.runs import AgentExecutionAdmin
from netra.console.threads import ThreadAdmin

admin.site.register(AgentExecution, AgentExecutionAdmin)
admin.site.register(Approval, ApprovalAdmin)
admin.site.register(Thread, ThreadAdmin)
admin.site.register(OperatorAction, OperatorActionAdmin)
