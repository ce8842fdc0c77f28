"""
What edge and service have counted, as Prometheus reads it: plain numbers, because the library's cost a lock each time.
"""

from collections import Counter
from collections.abc import Iterator

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Metric, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector
from starlette.requests import Request
from starlette.responses import Response

from temppass.service import Service

#: the endpoint of a request that no route answered
NOBODY = "none"
#: the status of an answer that did not come to its end
FAILED = "failed"


class Metrics(Collector):
    """The counters of one process; `registry` may have others of the process beside them."""

    def __init__(self, service: Service, registry: CollectorRegistry) -> None:
        self._service = service
        self._registry = registry
        #: requests answered, by endpoint and status
        self._requests: Counter[tuple[str, int | str]] = Counter()
        registry.register(self)

    def count(self, endpoint: str, status: int | str) -> None:
        """Count a request, by the name of its route and the status of its answer."""
        self._requests[endpoint, status] += 1

    async def metrics(self, _request: Request) -> Response:
        """Show the metrics in Prometheus' text format."""
        return Response(generate_latest(self._registry), media_type=CONTENT_TYPE_LATEST)

    def collect(self) -> Iterator[Metric]:
        requests = CounterMetricFamily(
            "temppass_requests", "Requests answered, by endpoint and status.", labels=["endpoint", "status"]
        )
        for (endpoint, status), count in self._requests.items():
            requests.add_metric([endpoint, str(status)], count)
        yield requests
        decisions = CounterMetricFamily(
            "temppass_decisions", "Titles decided by authorize, by verdict.", labels=["verdict"]
        )
        for verdict, count in self._service.decisions.verdicts.items():
            decisions.add_metric([verdict], count)
        yield decisions
        yield CounterMetricFamily(
            "temppass_swept_ledgers",
            "Ledgers removed that could not count any more.",
            self._service.upkeep.sweeper.removed,
        )
        clients = CounterMetricFamily(
            "temppass_swept_clients", "Clients removed that nobody has any more, by reason.", labels=["reason"]
        )
        for reason, count in self._service.upkeep.clients.removed.items():
            clients.add_metric([reason], count)
        yield clients
        bounds = [
            GaugeMetricFamily(name, text, labels=["environment", "application"])
            for name, text in (
                ("temppass_registrations_share", "Registrations of the last minute, as a share of what may be."),
                ("temppass_clients_share", "Clients that there are, as a share of what may be."),
            )
        ]
        for environment, application_id, *shares in self._service.upkeep.registrations.shares():
            for metric, share in zip(bounds, shares, strict=True):
                metric.add_metric([environment, application_id], share)
        yield from bounds
        yield CounterMetricFamily(
            "temppass_store_retries",
            "Batches run again after a race with another process.",
            self._service.context.store.retries,
        )
        yield from self._whereabouts()

    def _whereabouts(self) -> Iterator[Metric]:
        """Tell of a store that moves from one host to another; of others there is nothing to tell."""
        primary = GaugeMetricFamily(
            "temppass_store_primary", "1 for the host whose database is used.", labels=["host", "timeline"]
        )
        standby = GaugeMetricFamily(
            "temppass_store_standby", "1 for what is known of a synchronous standby.", labels=["state"]
        )
        moves = CounterMetricFamily("temppass_store_moves", "How often another host has become the primary.")
        if (where := self._service.context.store.whereabouts) is not None:
            if where.primary is not None:
                primary.add_metric([where.primary, str(where.timeline or "unknown")], 1)
            standby.add_metric([where.standby], 1)
            moves.add_metric([], where.moves)
        yield from (primary, standby, moves)
