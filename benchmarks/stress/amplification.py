"""What large requests of every kind take of a running service, per byte.

    python -m benchmarks.stress.amplification [--bytes 4000000] [--side 2000] [--write]

Sends every operation, by every way in, the values of `tests.support.amplification`, one after the
other, and asks for the health all the while. Fails when a request takes more than its bounds.
"""

import argparse
import os
import sys
import time
from collections.abc import Sequence
from contextlib import closing
from http.client import HTTPConnection
from pathlib import Path
from typing import NamedTuple

from benchmarks.report import README, table, with_section
from benchmarks.stress.reliability import PATIENCE_S, USERNAME, Service, probing, service
from ltu_compute.settings import Settings
from ltu_compute.store import Store
from tests.support.amplification import COMPARED, PICTURE, REPEATED, Case, Cost, Credentials, cases

SHOWN = 5  # cases that cost most, of each kind and each measure


class Taken(NamedTuple):
    """A case, the status of its reply and what it took."""

    case: Case
    status: int
    cost: Cost


def _processor_s(workers: Sequence[int]) -> float:
    """Return the processor time of the workers, in s."""
    fields = (Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split() for pid in workers)
    return sum(int(each[11]) + int(each[12]) for each in fields) / os.sysconf("SC_CLK_TCK")


def _memory(workers: Sequence[int], name: str) -> dict[int, int]:
    """Return the memory of each worker in bytes: VmRSS now, VmHWM at its peak."""
    texts = {pid: Path(f"/proc/{pid}/status").read_text() for pid in workers}
    return {pid: int(text.partition(f"{name}:")[2].split()[0]) << 10 for pid, text in texts.items()}


def _taken(running: Service, case: Case) -> Taken:
    workers = running.workers()
    for pid in workers:
        Path(f"/proc/{pid}/clear_refs").write_text("5")  # the peak is counted from here
    before, began = _memory(workers, "VmRSS"), _processor_s(workers)
    connection = HTTPConnection(running.host, running.port, timeout=20 * PATIENCE_S)
    with probing(running) as health:
        connection.request(case.method, case.path, case.body, dict(case.headers))
        answer = connection.getresponse()
        content = answer.read()
        time.sleep(0.05)
    connection.close()
    peak = _memory(workers, "VmHWM")
    cost = Cost(
        reply=len(content),
        memory=max(peak[pid] - before[pid] for pid in workers),
        seconds=_processor_s(workers) - began,
        wait_s=max((each.seconds for each in health), default=None),
    )
    return Taken(case, answer.status, cost)


def _rows(taken: Sequence[Taken]) -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = []
    for kind, is_picture in (("no picture", False), ("pictures", True)):
        some = [
            each
            for each in taken
            if (each.case.bounds in (PICTURE, COMPARED, REPEATED)) == is_picture
        ]
        for name in ("reply", "memory", "seconds", "wait_s"):
            for each in sorted(some, key=lambda each: -(getattr(each.cost, name) or 0))[:SHOWN]:
                value = getattr(each.cost, name)
                shown = (
                    f"{value:.2f} s" if name in ("seconds", "wait_s") else f"{value / 1e6:.1f} MB"
                )
                size = f"{len(each.case.body) / 1e6:.2f} MB"
                rows.append((kind, name, each.case.name, size, shown, str(each.status)))
    return rows


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print what took most, and return 1 where something took too much."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--bytes", type=int, default=4_000_000, help="of a value, about")
    parser.add_argument("--side", type=int, default=2000, help="of a picture, px")
    parser.add_argument("--every", action="store_true", help="each combination, which takes hours")
    parser.add_argument("--write", action="store_true", help=f"write into {README.name}, too")
    given = parser.parse_args(arguments)
    taken: list[Taken] = []
    with service(token_lifetime="86400") as running:  # noqa: S106  (seconds)
        with closing(Store(Settings(data_dir=running.log.parent))) as store:
            credentials = Credentials.from_token(store, running.token, USERNAME)
        for case in cases(given.bytes, given.side, credentials, thin=not given.every):
            try:
                taken.append(_taken(running, case))
            except OSError as error:  # no answer in time, or none at all
                raise RuntimeError(case.name) from error
            for words in taken[-1].cost.beyond(case):
                print(f"{case.name}: {words}", flush=True)
    beyond = [each for each in taken if each.cost.beyond(each.case)]
    head = ("kind", "", "request", "bytes", "took", "status")
    section = (
        f"## Amplification\n\n{len(taken)} requests of {given.bytes / 1e6:g} MB, pictures of "
        f"{given.side} px; {len(beyond)} beyond their bounds.\n\n{table(head, _rows(taken))}"
    )
    print(section)
    if given.write:
        text = with_section(README.read_text("utf-8"), "amplification", section)
        README.write_text(text, "utf-8")
    return int(bool(beyond))


if __name__ == "__main__":
    sys.exit(main())
