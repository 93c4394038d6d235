"""``ltu-compute worker``: computes jobs, and nothing else."""

import signal
import threading
from typing import Any

import click

from ltu_compute.settings import load

STOPPING_S = 10.0  # seconds in which runners give back what they compute


@click.command()
@click.option("--jobs", type=click.IntRange(1), help="Worker processes. Default: one a processor.")
def worker(jobs: int | None) -> None:
    """Compute jobs of the service, on this machine or another one.

    It works for all services that use the same database (LTU_COMPUTE_DATABASE_URL). Stop it with
    Ctrl-C or SIGTERM: what it computes is given back to the queue. Killed, its parts are taken
    over by others within half a minute.
    """
    from ltu_compute.dialects import notices
    from ltu_compute.jobs.batch import available_processors
    from ltu_compute.jobs.doorbell import doorbell_for
    from ltu_compute.jobs.runner import runners_for
    from ltu_compute.serving.preparation import prepare
    from ltu_compute.web import logs

    settings = load()
    logs.configure(settings.log_format)
    store = prepare(settings)
    # One is enough to send parts to a cluster, whose workers compute them.
    count = 1 if settings.dask else jobs or available_processors()
    doorbell = doorbell_for(settings, store.database)
    runners = runners_for(
        store,
        settings,
        compose=notices(store.jobs),
        count=count,
        doorbell=doorbell,
        nice=0,
    )
    stopping = threading.Event()

    def stop(*_: Any) -> None:
        stopping.set()

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, stop)
    threads = [runner.start() for runner in runners]
    where = f"the Dask cluster at {settings.dask}" if settings.dask else f"{count} workers"
    click.echo(f"{where} waits for jobs" if settings.dask else f"{where} wait for jobs", err=True)
    stopping.wait()
    for runner in runners:
        runner.stop()
    for thread in threads:
        thread.join(STOPPING_S)
    doorbell.close()
    store.close()
