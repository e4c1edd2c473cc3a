"""What Prometheus may ask: how many, how long, how much room. No study is named."""

from collections.abc import Callable, Iterator

from prometheus_client import CollectorRegistry, Counter, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from reg2rg.serve.data_folder import DataFolder
from reg2rg.serve.job import State
from reg2rg.serve.queue import Queue
from reg2rg.serve.refusal import Reason


class Metrics:
    """The service's figures.

    Args:
        queue: whose jobs are counted.
        folder: whose disk is looked at.
    """

    def __init__(self, queue: Queue, folder: DataFolder) -> None:
        self._registry = CollectorRegistry()
        self._instances = Counter("reg2rg_instances_total", "DICOM objects received.", registry=self._registry)
        self._refused = Counter(
            "reg2rg_refused_total", "Objects, associations and requests refused.", ["reason"], registry=self._registry
        )
        self._requests = Counter("reg2rg_http_requests_total", "HTTP answers.", ["code"], registry=self._registry)
        for reason in Reason:
            self._refused.labels(reason.value)
        self._state = _StateOfService(queue, folder)
        self._registry.register(self._state)

    def watch_workers(self, num_ready: Callable[[], int]) -> None:
        """Says from now on how many workers are ready."""
        self._state.num_ready = num_ready

    def count_instance(self) -> None:
        """A DICOM object was received."""
        self._instances.inc()

    def count_refused(self, reason: Reason) -> None:
        """Something was refused."""
        self._refused.labels(reason.value).inc()

    def count_request(self, code: int) -> None:
        """An HTTP request was answered."""
        self._requests.labels(str(code)).inc()

    def text(self) -> bytes:
        """All figures in Prometheus' text format."""
        return generate_latest(self._registry)


class _StateOfService(Collector):
    """Figures that are looked up when they are asked for."""

    def __init__(self, queue: Queue, folder: DataFolder) -> None:
        self._queue = queue
        self._folder = folder
        self.num_ready: Callable[[], int] = lambda: 0

    def collect(self) -> Iterator[Metric]:
        """The figures now."""
        jobs = GaugeMetricFamily("reg2rg_jobs", "Jobs by state.", labels=["state"])
        for state, count in self._queue.counts().items():
            jobs.add_metric([state.value], count)
        yield jobs
        totals = self._queue.totals()
        ended = CounterMetricFamily("reg2rg_jobs_ended", "Jobs that ended, by how.", labels=["state"])
        for state in (State.DONE, State.FAILED):
            ended.add_metric([state.value], totals.get(state, 0.0))
        yield ended
        yield CounterMetricFamily(
            "reg2rg_job_seconds", "Time spent on jobs that ended, last attempts.", value=totals.get("seconds", 0.0)
        )
        yield GaugeMetricFamily("reg2rg_workers_ready", "Workers with a loaded model.", value=self.num_ready())
        yield GaugeMetricFamily("reg2rg_disk_free_bytes", "Room on the disk.", value=self._folder.free_bytes)
