"""The figures as text, by prometheus-client; only its format is used.

Its registries are not: nothing is kept, each text is made of what is there.
"""

import time
from collections.abc import Iterable

from prometheus_client.core import Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.registry import Collector

from blazeio_supervisor.control.status import Service
from blazeio_supervisor.escaping import escape_answer
from blazeio_supervisor.observe.metrics.families import list_families

CONTENT_TYPE = CONTENT_TYPE_LATEST
FRESH_FOR_S = 1.0
"""Who asks again meanwhile gets the same text: with 256 slots one takes 20 ms of
the master's loop."""


class Exposition(Collector):
    """Makes the text.

    Args:
        service: What is measured.
    """

    def __init__(self, service: Service) -> None:
        self._service = service
        self._text = b""
        self._made_at = -FRESH_FOR_S

    def collect(self) -> Iterable[Metric]:
        """For ``generate_latest``."""
        for family in list_families(self._service):
            family.samples = [
                sample._replace(labels=escape_answer(sample.labels))
                for sample in family.samples
            ]
            yield family

    def write(self) -> bytes:
        """Give the text, at most ``FRESH_FOR_S`` old."""
        now = time.monotonic()
        if now >= self._made_at + FRESH_FOR_S:
            self._text, self._made_at = generate_latest(self), now
        return self._text
