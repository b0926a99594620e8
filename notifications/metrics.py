"""What this process counts of its sockets and of the channel layer. Read by Prometheus: docs/metrics.md."""

from typing import Final

from prometheus_client import Counter, Gauge

SOCKETS: Final = Gauge("netra_sockets", "Sockets that are connected to this process.")
PUBLISH_FAILURES: Final = Counter(
    "netra_publish_failures", "Batches of events that the channel layer did not take. The log has them."
)
LAYER_SILENCES: Final = Counter(
    "netra_layer_silences", "Times that this process was not heard by itself, and connected to the channel layer anew."
)
LOG_READS: Final = Counter(
    "netra_log_reads",
    "Reads of the log for a socket. gap: the channel layer had not brought the events; overflow: more came than is"
    " kept for one socket; resume: the client asked.",
    ["cause"],
)
SLOW_CLIENT_WAITS: Final = Counter(
    "netra_slow_client_waits", "Times that events began to wait for a client that reads or acks too slowly."
)
SLOW_CLIENTS_CLOSED: Final = Counter(
    "netra_slow_clients_closed", "Sockets closed with 4408: their client had stopped reading."
)

for _cause in ("gap", "overflow", "resume"):
    LOG_READS.labels(_cause)  # so that it reads 0, and its first rise is seen
