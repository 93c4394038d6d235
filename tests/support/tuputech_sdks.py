"""What Tuputech's SDKs put on the wire, and how each reads a reply.

Rebuilt from what the SDKs sent to this service: Python (6fa22f2), Node (b15acaf), Java (3d27d8e),
Go (d019971), PHP (821f27b) and C++ (379e2ae) of github.com/tuputech. They differ in boundaries, the
order of fields, headers of parts, spellings of time and nonce, and in the ways they take JSON.
"""

import base64
import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple
from urllib.parse import quote_plus

File = tuple[str, bytes]
Sign = Callable[[str, str], str]
"""Returns the signature of a timestamp and a nonce."""

ENDED = b"\r\n"


class Sent(NamedTuple):
    """A request: where to, below the address of recognition, and what."""

    path: str
    headers: dict[str, str]
    body: bytes


@dataclass(frozen=True)
class Sdk:
    """An SDK.

    Attributes
    ----------
    stamp
        Spells a time, in seconds.
    nonce
        One as it makes them.
    order
        Fields of a form, in its order; those of which nothing is given are left out.
    boundary
        Of a multipart body.
    part
        Headers of a file's part, after the name of the field, for a file's name.
    headers
        Of the request, besides Content-Type.
    addresses
        Fields of a urlencoded body, in its order, where addresses come in one.
    raw
        Of them, those that it does not encode.
    trailing
        Fields that follow each image, not the others.
    """

    stamp: Callable[[float], str]
    nonce: str
    order: Sequence[str]
    boundary: str
    part: Callable[[str], str]
    reads: Callable[[bytes], str]
    headers: dict[str, str] = field(default_factory=dict)
    addresses: Sequence[str] = ()
    raw: Sequence[str] = ()
    trailing: Sequence[str] = ()

    def sends(
        self,
        secret_id: str,
        sign: Sign,
        now: float,
        images: Sequence[File | str],
        *,
        nonce: str = "",
        **more: Sequence[str],
    ) -> Sent:
        """Return a request with files or addresses; ``more`` are tags, tasks and the like."""
        stamp, nonce = self.stamp(now), nonce or self.nonce
        signature = sign(stamp, nonce)
        known = {"timestamp": [stamp], "nonce": [nonce], "signature": [signature]}
        given = known | {"secretId": [secret_id]} | more
        if self.addresses and isinstance(images[0], str):
            named = [(name, v) for name in self.addresses for v in given.get(name, ())]
            pairs = [*named, *(("image", str(address)) for address in images)]
            written = (f"{k}={v if k in self.raw else quote_plus(v)}" for k, v in pairs)
            headers = {"Content-Type": "application/x-www-form-urlencoded"}
            return Sent(f"/{secret_id}", headers, "&".join(written).encode())
        fields = [
            (name, value)
            for name in self.order
            if name not in self.trailing
            for value in given.get(name, ())
        ]
        parts = [_field(name, value) for name, value in fields]
        for number, image in enumerate(images):
            parts.append(_field("image", image) if isinstance(image, str) else self._file(*image))
            parts += [
                _field(name, given[name][min(number, len(given[name]) - 1)])
                for name in self.trailing
                if name in given
            ]
        line = f"--{self.boundary}".encode()
        body = b"".join(line + ENDED + part + ENDED for part in parts) + line + b"--" + ENDED
        kind = f"multipart/form-data; boundary={self.boundary}"
        return Sent(f"/{secret_id}", {"Content-Type": kind} | self.headers, body)

    def _file(self, name: str, content: bytes) -> bytes:
        return self.part(name).encode() + ENDED + ENDED + content


def _field(name: str, value: str) -> bytes:
    return f'Content-Disposition: form-data; name="{name}"\r\n\r\n{value}'.encode()


def _part(kind: str, *, whole_path: bool = False) -> Callable[[str], str]:
    def headers(name: str) -> str:
        shown = name if whole_path else name.rpartition("/")[2]
        disposition = f'Content-Disposition: form-data; name="image"; filename="{shown}"'
        return f"{disposition}\r\nContent-Type: {kind}" if kind else disposition

    return headers


# ----------------------------------------------------------------------- reading replies


def _as_text(body: bytes) -> str:
    """Python, Node, PHP: JSON in UTF-8."""
    return str(json.loads(body)["json"])


def _as_java(body: bytes) -> str:
    """Each byte is a character; the text within stays as it is where no blank precedes it."""
    assert re.match(rb'\{"json":"', body), "json-lib would parse the text within, and write it anew"
    return str(json.loads(body.decode("latin-1"))["json"])


def _as_go(body: bytes) -> str:
    """Every member is a text, and so is the nonce within."""
    envelope = json.loads(body)
    assert all(isinstance(value, str) for value in envelope.values())
    inner = json.loads(envelope["json"])
    assert isinstance(inner["nonce"], str)
    assert isinstance(inner["message"], str)
    return str(envelope["json"])


def _as_cpp(body: bytes) -> str:
    r"""Of the escapes only ``\n \r \t \\ \' \" \?`` are known: others stay as they are."""
    found = re.search(rb'"json":"((?:[^"\\]|\\.)*)"', body)
    assert found is not None
    known = {b"n": b"\n", b"r": b"\r", b"t": b"\t"}
    taken = re.sub(rb"\\([nrt\\'\"?])", lambda m: known.get(m[1], m[1]), found[1])
    return taken.decode()


# -------------------------------------------------------------------------------- the SDKs


def _whole(now: float) -> str:
    return str(int(now))


USUAL = ("timestamp", "nonce", "signature")

SDKS = {
    "Python": Sdk(
        stamp=str,
        nonce="0.31580428470212796",
        order=USUAL,
        boundary="8af0033cff8ee37411b569bf7f86eb5e",
        part=_part("application/*", whole_path=True),
        reads=_as_text,
        headers={"User-Agent": "python-requests/2.34.2"},
        addresses=USUAL,
    ),
    "Node": Sdk(
        stamp=_whole,
        nonce="0.7544723766027843",
        order=("secretId", *USUAL, "tag", "uid"),
        boundary="--------------------------346032303984090712595227",
        part=_part("image/png"),
        reads=_as_text,
    ),
    "Java": Sdk(
        stamp=_whole,
        nonce="0.25772585705570594",
        order=("uid", "signature", "secretId", "nonce", "timestamp", "tag", "task"),
        boundary="3d14fe8d-3435-46c5-bd7d-3731dc6ba493",
        part=lambda name: f'Content-Disposition:form-data; name="image"; filename="{name}"',
        reads=_as_java,
        headers={"user-agent": "Mozilla/4.0 (compatible; MSIE 6.0; Windows NT 5.1; SV1)"},
        addresses=(*USUAL, "tag", "task"),
        raw=("timestamp", "nonce", "tag", "task"),
    ),
    "Go": Sdk(
        stamp=_whole,
        nonce="3720363822",
        order=(*USUAL, "uid", "task", "tag"),
        boundary="d612460a2edb4fedad6f3e0ac7019a13e1d1e04cd1f7e9ed36d581f84b02",
        part=_part("application/octet-stream"),
        reads=_as_go,
        headers={"User-Agent": "tupu-client/1.0", "Timeout": "30"},
        trailing=("tag",),
    ),
    "PHP": Sdk(
        stamp=_whole,
        nonce="474254",
        order=(*USUAL, "uid", "tag", "CID"),
        boundary="----------------------------2dda536555e2",
        part=_part("application/octet-stream"),
        reads=_as_text,
        headers={"Expect": "100-continue"},
    ),
    "C++": Sdk(
        stamp=_whole,
        nonce="5cb848",
        order=("nonce", "signature", "timestamp", "uid", "tag", "sequenceId", "time"),
        boundary="------------------------9a9e6861ca19874a",
        part=_part("image/png"),
        reads=_as_cpp,
        headers={"User-Agent": "tupu-client/1.0", "Expect": "100-continue"},
        trailing=("tag", "sequenceId", "time"),
    ),
}


# ------------------------------------------------------------------------------------ JSON


def python_base64(secret_id: str, sign: Sign, now: float, nonce: str, images: Any) -> Sent:
    """Return what the Python SDK's ``image_sync_base64`` sends: time and nonce are numbers."""
    stamp = str(now)
    body = {
        "images": [base64.b64encode(content).decode() for content in images],
        "timestamp": float(stamp),
        "nonce": float(nonce),
        "signature": sign(stamp, nonce),
        "tags": ["one"],
        "tasks": [],
    }
    return _json(f"/image/sync/base64/{secret_id}", body)


def java_base64(secret_id: str, sign: Sign, now: float, nonce: str, images: Any) -> Sent:
    """Return what the Java SDK's ``doImageBase64Api`` sends."""
    stamp = _whole(now)
    body = {
        "timestamp": stamp,
        "signature": sign(stamp, nonce),
        "nonce": nonce,
        "images": [base64.b64encode(content).decode() for content in images],
        "tags": ["one"],
    }
    return _json(f"/image/sync/base64/{secret_id}", body)


def newer_document(secret_id: str, sign: Sign, now: float, nonce: str, images: Any) -> Sent:
    """Return addresses in JSON, as the vendor's Chinese document of 2023 has it.

    Time and nonce are numbers, as JavaScript writes them: never as 5e-05.
    """
    stamp = _whole(1000 * now)
    members = {"signature": sign(stamp, nonce), "image": list(images), "tag": "one"}
    members["sequenceId"] = ["a", "b"]
    written = json.dumps(members)[1:-1]
    body = f'{{"timestamp": {stamp}, "nonce" : {nonce}, {written}}}'
    return Sent(f"/{secret_id}", {"Content-Type": "application/json"}, body.encode())


def _json(path: str, body: Any) -> Sent:
    return Sent(path, {"Content-Type": "application/json"}, json.dumps(body).encode())
