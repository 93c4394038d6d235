"""Notices: signed POST requests to an account's own server when a job has ended.

A notice is a job of its own, added in the transaction that ends the other job. So none is lost, and
none is sent for a job whose end was not stored. A receiver may get it twice.

Source: Standard Webhooks, https://www.standardwebhooks.com (headers, signature and secret).
"""

import base64
import hashlib
import hmac
import logging
import threading
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from ltu_compute.errors import FetchFailed, Unavailable
from ltu_compute.jobs.doorbell import Doorbell
from ltu_compute.jobs.parameters import JobParameters
from ltu_compute.outbound.fetch import Fetcher
from ltu_compute.settings import Settings
from ltu_compute.store import Store
from ltu_compute.store.job_records import MAX_ATTEMPTS, Claim

NOTICE = "notice"
"""The kind of these jobs; no worker process computes them."""

PARAMETER = "callback_url"
POLL_S = 1.0  # seconds between two looks for notices
FIRST_WAIT_S = 15.0  # before the second attempt; doubles each time: the fifth is after 225 s
ENDED_LATE = 2.0  # times that a request may take, for which a notice is claimed
_NAMESPACE = uuid.UUID("0f8e2c52-6f0c-4b7e-9d0a-6f9f4c3c1b52")

_log = logging.getLogger("ltu_compute.jobs")

Compose = Callable[[str, str], bytes | None]
"""Account and job to the body of the notice; None: the job is gone."""


@dataclass(frozen=True)
class Notice:
    """Receiver of a notice that a job has ended.

    Attributes
    ----------
    url : str
        Where to send it.
    key_id : str
        The API key whose secret signs it.
    """

    url: str
    key_id: str


@dataclass(frozen=True)
class NoticeJob(JobParameters):
    """The parameters of a notice.

    Attributes
    ----------
    of, kind : str
        Id and kind of the job that has ended.
    notice : Notice
        Receiver.
    """

    of: str
    kind: str
    notice: Notice


def notice_id(job_id: str) -> str:
    """Return the id of the notice of a job, which there is once."""
    return str(uuid.uuid5(_NAMESPACE, job_id))


def signed_headers(message_id: str, body: bytes, secret: bytes, now: float) -> dict[str, str]:
    """Return the headers of a notice.

    Parameters
    ----------
    message_id : str
        The same in every attempt.
    body : bytes
        What is sent.
    secret : bytes
        SHA-256 of the API key, 32 bytes. Libraries of Standard Webhooks take it as ``whsec_`` and
        its base64.
    now : float
        Seconds since 1970, against replays.
    """
    timestamp = str(int(now))
    content = b".".join((message_id.encode(), timestamp.encode(), body))
    signature = base64.b64encode(hmac.new(secret, content, hashlib.sha256).digest()).decode()
    return {
        "Content-Type": "application/json",
        "webhook-id": message_id,
        "webhook-timestamp": timestamp,
        "webhook-signature": f"v1,{signature}",
    }


class Notices:
    """Sends notices, one after the other, until it is stopped.

    Parameters
    ----------
    store : Store
        Jobs and API keys.
    settings : Settings
        `fetch_timeout` is how long a request may take; `fetch_allowed_networks` may be reached.
    compose : mapping of str to callable
        What a notice of a job says, by the kind of job.
    clock : callable
        Returns the time in seconds since 1970.
    doorbell : Doorbell, optional
        Wakes it when there is a notice to send.
    """

    def __init__(
        self,
        store: Store,
        settings: Settings,
        compose: Mapping[str, Compose],
        clock: Callable[[], float] = time.time,
        doorbell: Doorbell | None = None,
    ) -> None:
        self._bell = None if doorbell is None else doorbell.bell([NOTICE])
        self._jobs = store.jobs
        self._keys = store.api_keys
        self._fetcher = Fetcher(settings)
        self._lease = max(settings.job_lease, ENDED_LATE * settings.fetch_timeout)
        self._compose = compose
        self._clock = clock
        self._stopping = threading.Event()

    def start(self) -> threading.Thread:
        """Run in a thread of its own."""
        thread = threading.Thread(target=self.run, daemon=True, name="ltu-compute-notices")
        thread.start()
        return thread

    def stop(self) -> None:
        """Return from `run` when the notice at hand was sent."""
        self._stopping.set()

    def run(self) -> None:
        """Send notices until `stop`; a database that does not answer is waited for."""
        while not self._stopping.is_set():
            try:
                if not self.step():
                    self._wait()
            except Unavailable:
                self._stopping.wait(POLL_S)
            except Exception:  # noqa: BLE001  (no notice may end the thread that all others need)
                _log.exception("a notice could not be sent")
                self._stopping.wait(POLL_S)

    def _wait(self) -> None:
        if self._bell is None:
            self._stopping.wait(POLL_S)
        else:
            self._bell.wait(POLL_S)

    def step(self) -> bool:
        """Send a notice; return whether there was one."""
        if not self._jobs.is_waiting([NOTICE]):
            return False
        claims = self._jobs.claim(kinds=[NOTICE], lease=self._lease)
        for claim in claims:
            self._settle(claim)
        return bool(claims)

    def _settle(self, claim: Claim) -> None:
        if claim.exhausted:
            self._jobs.fail(claim, "its senders were lost")
            return
        job = NoticeJob.loads(claim.parameters)
        body = self._compose[job.kind](claim.account_id, job.of)
        secret = self._keys.digest(job.notice.key_id)
        if body is None or secret is None:
            gone = "its job" if body is None else "the API key that signs it"
            self._jobs.fail(claim, f"{gone} is gone")
            _log.info("notice dropped job=%r: %s is gone", claim.job_id, gone)
            return
        headers = signed_headers(f"msg_{claim.job_id}", body, secret, self._clock())
        try:
            self._fetcher.post(job.notice.url, body, headers, name=PARAMETER)
        except FetchFailed as failed:
            _log.info("notice not sent job=%r attempt=%d %s", claim.job_id, claim.attempts, failed)
            if claim.attempts < MAX_ATTEMPTS:
                self._jobs.release(claim, first_wait=FIRST_WAIT_S)
            else:
                self._jobs.fail(claim, str(failed))
        else:
            self._jobs.finish(claim, b"")
            _log.info("notice sent job=%r attempt=%d", claim.job_id, claim.attempts)
