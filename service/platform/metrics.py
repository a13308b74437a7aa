"""What is measured, for Prometheus; OpenTelemetry's names where there is one."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest, values
from prometheus_client.multiprocess import MultiProcessCollector

REGISTRY = CollectorRegistry()

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)

REQUEST_SECONDS = Histogram(
    "http_server_request_duration_seconds",
    "Duration of HTTP requests.",
    ("http_request_method", "http_route", "http_response_status_code"),
    buckets=_SECONDS,
    registry=REGISTRY,
)
TOKENS_VERIFIED = Counter(
    "auth_tokens_verified",
    "Tokens whose signature was checked, because they were not remembered.",
    ("outcome",),
    registry=REGISTRY,
)
RULES_FAILED = Counter(
    "rules_failed",
    "Awards that paid nothing because their rule failed on the values of an action.",
    ("rule", "rulebook_version"),
    registry=REGISTRY,
)
REQUESTS_LIMITED = Counter(
    "http_server_requests_limited",
    "Requests refused by a rate limit.",
    ("limit",),
    registry=REGISTRY,
)
BATCH_ACTIONS = Histogram(
    "writer_batch_actions",
    "Actions that were recorded, or refused, in one transaction.",
    buckets=(1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000, 2_000),
    registry=REGISTRY,
)
ACTIONS_WAITING = Gauge(
    "writer_actions_waiting",
    "Actions that wait for the writer, after its last batch.",
    registry=REGISTRY,
    multiprocess_mode="livesum",
)
OUTBOX_WAITING = Gauge(
    "outbox_rows_waiting",
    "Transactions that the boards have not learnt of yet.",
    registry=REGISTRY,
    multiprocess_mode="mostrecent",
)

# With PROMETHEUS_MULTIPROC_DIR set, the processes of one API keep their figures together there.
_SHARED = values.ValueClass is not values.MutexValue


def exposition() -> bytes:
    """All of it in Prometheus' text format, of all processes when they share a folder."""
    if not _SHARED:
        return generate_latest(REGISTRY)
    everyone = CollectorRegistry()
    MultiProcessCollector(everyone)  # type: ignore[no-untyped-call]
    return generate_latest(everyone)
