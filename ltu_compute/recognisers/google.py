"""Google's Cloud Vision, for those who have a key: called where it was asked for, and only then.

Source: the REST method ``images:annotate`` of https://cloud.google.com/vision/docs/reference/rest.
"""

import http.client
import math
import socket
import ssl
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, Literal
from urllib.parse import urlsplit

import numpy as np
import orjson
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic.alias_generators import to_camel

from ltu_compute.errors import ProviderFailed, Unavailable
from ltu_compute.image import Image, encoding, transport
from ltu_compute.kernels.classification import Label
from ltu_compute.kernels.languages import BIBLIOGRAPHIC, iso_code
from ltu_compute.kernels.object_detection import DetectedObject
from ltu_compute.kernels.text_detection import TextDetection, Word
from ltu_compute.outbound.deadline import cut_off_after
from ltu_compute.settings import Settings

Feature = Literal["TEXT_DETECTION", "LABEL_DETECTION", "OBJECT_LOCALIZATION"]

METHOD = "/v1/images:annotate"
MAX_IMAGE_BYTES = 7 << 20  # as base64 it fits the 10 MB that a request may have
SIZES = (4096, 2048, 1024)  # px of the longest side: the first whose file is small enough
JPEG_QUALITY = 92
MAX_REPLY_BYTES = 32 << 20
SHOWN = 300  # characters of Google's own words that are repeated

Json = dict[str, Any]

ReleaseSlot = Callable[[], AbstractContextManager[None]]
"""Context that is entered while Google computes and this process waits."""


@dataclass(frozen=True)
class RelevantLabel(Label):
    """A label, and how relevant it is to the picture, 0 to 1."""

    topicality: float


class _Part(BaseModel):
    """A part of a reply; what is zero or empty is left out of JSON by protobuf's rules."""

    model_config = ConfigDict(frozen=True, alias_generator=to_camel, allow_inf_nan=False)


class _Vertex(_Part):
    x: float = 0
    y: float = 0


class _Polygon(_Part):
    vertices: tuple[_Vertex, ...] = ()
    normalized_vertices: tuple[_Vertex, ...] = ()


class _Label(_Part):
    mid: str = ""
    description: str = ""
    score: float = 0
    topicality: float = 0


class _Object(_Part):
    mid: str = ""
    name: str = ""
    score: float = 0
    bounding_poly: _Polygon = _Polygon()


class _Language(_Part):
    language_code: str = ""


class _Break(_Part):
    type: str = ""


class _Property(_Part):
    detected_languages: tuple[_Language, ...] = ()
    detected_break: _Break = _Break()

    @property
    def language(self) -> str:
        """The likeliest language, without its region and script."""
        codes = [found.language_code for found in self.detected_languages]
        return codes[0].partition("-")[0] if codes else ""


class _Symbol(_Part):
    text: str = ""
    property: _Property = _Property()


class _Word(_Part):
    symbols: tuple[_Symbol, ...] = ()
    property: _Property = _Property()
    bounding_box: _Polygon = _Polygon()
    confidence: float = 0


class _Paragraph(_Part):
    words: tuple[_Word, ...] = ()


class _Block(_Part):
    paragraphs: tuple[_Paragraph, ...] = ()


class _Page(_Part):
    property: _Property = _Property()
    blocks: tuple[_Block, ...] = ()


class _Text(_Part):
    pages: tuple[_Page, ...] = ()
    text: str = ""


class _Reply(_Part):
    """An ``AnnotateImageResponse``, as far as it is used here."""

    label_annotations: tuple[_Label, ...] = ()
    localized_object_annotations: tuple[_Object, ...] = ()
    full_text_annotation: _Text = _Text()


LINE_ENDS = ("LINE_BREAK", "EOL_SURE_SPACE", "HYPHEN")


class Vision:
    """A client of the Vision API.

    Parameters
    ----------
    settings : Settings
        `google_api_key`, `google_endpoint` and `google_timeout` count.
    tls : ssl.SSLContext, optional
        Default: the system's certificates, names checked.
    """

    def __init__(self, settings: Settings, *, tls: ssl.SSLContext | None = None) -> None:
        self._key = settings.google_api_key.get_secret_value()
        self._endpoint = urlsplit(settings.google_endpoint)
        self._path = self._endpoint.path.rstrip("/") + METHOD
        self._timeout = settings.google_timeout
        self._tls = tls

    def text(
        self,
        image: Image,
        languages: Sequence[str] = (),
        *,
        release_slot: ReleaseSlot = nullcontext,
    ) -> TextDetection:
        """Return what is written in a picture, corners in its px.

        Parameters
        ----------
        image : Image
            The picture. Its pixels are sent, upright and without the file's metadata, as JPEG;
            the other methods do the same.
        languages : sequence of str
            Languages to expect: ISO 639-1, 639-2 or 639-3 codes, or Tesseract's names.
        release_slot : ReleaseSlot, optional
            Entered while Google is waited for; the other methods do the same.

        Raises
        ------
        ProviderFailed
            Google refused, did not answer in time, or not as its reference says. The other methods
            raise it too.
        Unavailable
            The key's quota is used up. The other methods raise it too.
        """
        found, width = self._annotate(image, "TEXT_DETECTION", release_slot, languages=languages)
        return _detected(found.full_text_annotation, image.width / width)

    def labels(
        self, image: Image, *, max_results: int, release_slot: ReleaseSlot = nullcontext
    ) -> tuple[RelevantLabel, ...]:
        """Return what a picture shows, best first."""
        found, _ = self._annotate(image, "LABEL_DETECTION", release_slot, max_results=max_results)
        labels = [
            RelevantLabel(a.mid, a.description, a.score, a.topicality)
            for a in found.label_annotations
        ]
        return tuple(sorted(labels, key=lambda label: -label.score))

    def objects(
        self, image: Image, *, max_results: int, release_slot: ReleaseSlot = nullcontext
    ) -> tuple[DetectedObject, ...]:
        """Return the objects in a picture, best first, corners in its px."""
        found, _ = self._annotate(
            image, "OBJECT_LOCALIZATION", release_slot, max_results=max_results
        )
        extent = np.array(image.size, np.float64)
        objects = [
            DetectedObject(a.name, a.mid, a.score, corners * extent)
            for a in found.localized_object_annotations
            if len(corners := _points(a.bounding_poly.normalized_vertices)) == 4
        ]
        return tuple(sorted(objects, key=lambda detected: -detected.score))

    def _annotate(
        self,
        image: Image,
        feature: Feature,
        release_slot: ReleaseSlot,
        *,
        max_results: int | None = None,
        languages: Sequence[str] = (),
    ) -> tuple[_Reply, int]:
        """Return what Google finds, and the width in px of the picture that it was sent."""
        content, width = _sent(image)
        asked: Json = {"type": feature}
        if max_results is not None:
            asked["maxResults"] = max_results
        request: Json = {"image": {"content": transport.base64_text(content)}, "features": [asked]}
        if languages:
            hints = list(dict.fromkeys(map(_hint, languages)))
            request["imageContext"] = {"languageHints": hints}
        sent = orjson.dumps({"requests": [request]})
        with release_slot():
            status, headers, body = self._exchange(sent)
        return self._reply(status, headers, body), width

    def _reply(self, status: int, headers: http.client.HTTPMessage, body: bytes) -> _Reply:
        answer = _object(body)
        if status != http.HTTPStatus.OK:
            raise self._refusal(status, headers, _part(answer, "error"))
        replies = answer.get("responses")
        if not isinstance(replies, list) or len(replies) != 1 or not isinstance(replies[0], dict):
            raise _malformed("responses: not a list of one object")
        if "error" in replies[0]:
            raise ProviderFailed(f"Google: {self._words(_part(replies[0], 'error'))}")
        try:
            return _Reply.model_validate(replies[0])
        except ValidationError as error:
            where = ".".join(map(str, error.errors()[0]["loc"]))
            raise _malformed(f"{where}: {error.errors()[0]['msg']}") from None

    def _refusal(
        self, status: int, headers: http.client.HTTPMessage, error: Json
    ) -> ProviderFailed | Unavailable:
        words = self._words(error)
        if status == http.HTTPStatus.TOO_MANY_REQUESTS:
            after = headers.get("Retry-After", "")
            seconds = min(int(after), 3600) if after.isascii() and after.isdigit() else 60
            return Unavailable(f"Google: the quota is used up: {words}", retry_after=seconds)
        reasons = [d.get("reason") for d in error.get("details") or () if isinstance(d, dict)]
        refused = (http.HTTPStatus.UNAUTHORIZED, http.HTTPStatus.FORBIDDEN)
        if status in refused or "API_KEY_INVALID" in reasons:
            return ProviderFailed(
                f"Google does not accept the key in LTU_COMPUTE_GOOGLE_API_KEY: {words}"
            )
        return ProviderFailed(f"Google answered with status {status}: {words}")

    def _words(self, error: Json) -> str:
        """Return what Google says is wrong, without the key, which it may repeat."""
        text = " ".join(str(error.get("message") or "it does not say why").split())
        return text.replace(self._key, "***")[:SHOWN]

    def _exchange(self, body: bytes) -> tuple[int, http.client.HTTPMessage, bytes]:
        headers = {
            "Content-Type": "application/json; charset=utf-8",
            "X-Goog-Api-Key": self._key,  # not in the URL, which proxies write to their logs
        }
        connection = self._connection()
        over = threading.Event()
        try:
            connection.connect()
            with cut_off_after(self._timeout, connection.sock, over):
                connection.request("POST", self._path, body, headers)
                with connection.getresponse() as reply:
                    content = reply.read(MAX_REPLY_BYTES + 1)
        except (OSError, http.client.HTTPException) as error:
            if isinstance(error, TimeoutError) or over.is_set():
                raise self._late() from None
            raise ProviderFailed(f"Google could not be reached: {_reason(error)}") from None
        finally:
            connection.close()
        if over.is_set():  # what was cut off may look complete
            raise self._late()
        if len(content) > MAX_REPLY_BYTES:
            raise ProviderFailed(f"Google's reply has over {MAX_REPLY_BYTES} bytes")
        return reply.status, reply.headers, content

    def _late(self) -> ProviderFailed:
        return ProviderFailed(f"Google did not answer within {self._timeout:g} s")

    def _connection(self) -> http.client.HTTPConnection:
        host, port = self._endpoint.hostname or "", self._endpoint.port
        if self._endpoint.scheme == "http":
            return http.client.HTTPConnection(host, port, timeout=self._timeout)
        tls = self._tls or ssl.create_default_context()
        return http.client.HTTPSConnection(host, port, timeout=self._timeout, context=tls)


_REASONS: tuple[tuple[type[Exception], str], ...] = (
    (ssl.SSLCertVerificationError, "the certificate is not valid"),
    (ssl.SSLError, "no secure connection was possible"),
    (socket.gaierror, "the name does not resolve"),
    (ConnectionRefusedError, "the connection was refused"),
    (http.client.HTTPException, "the reply is not proper HTTP, or broke off"),
    (OSError, "the connection failed"),
)


def _reason(error: Exception) -> str:
    return next(text for kind, text in _REASONS if isinstance(error, kind))


def _sent(image: Image) -> tuple[bytes, int]:
    """Return a JPEG of a picture that fits into a request, and its width in px."""
    for size in SIZES:
        pixels = image.fit(size)
        content = encoding.jpeg(pixels, quality=JPEG_QUALITY)
        if len(content) <= MAX_IMAGE_BYTES:
            break
    return content, pixels.shape[1]


def _hint(language: str) -> str:
    """Return a language's ISO 639-1 code where it has one, which is what Google takes."""
    code = language.lower()
    return iso_code(BIBLIOGRAPHIC.get(code, code))


def _detected(annotation: _Text, scale: float) -> TextDetection:
    """Return a text with its words, their corners scaled."""
    words: list[Word] = []
    line = 0
    for found in _words(annotation):
        corners = _points(found.bounding_box.vertices) * scale
        text = "".join(symbol.text for symbol in found.symbols)
        if text and len(corners) == 4:
            confidence = min(max(found.confidence, 0.0), 1.0)
            words.append(Word(text, corners, confidence, line, found.property.language))
        line += any(symbol.property.detected_break.type in LINE_ENDS for symbol in found.symbols)
    pages = annotation.pages
    x, y = sum((w.corners[1] - w.corners[0] for w in words), np.zeros(2))
    return TextDetection(
        words=tuple(words),
        text=annotation.text.rstrip("\n"),
        language=pages[0].property.language if pages else "",
        rotation=math.degrees(math.atan2(y, x)),
    )


def _words(annotation: _Text) -> Iterator[_Word]:
    for page in annotation.pages:
        for block in page.blocks:
            for paragraph in block.paragraphs:
                yield from paragraph.words


def _points(vertices: Sequence[_Vertex]) -> NDArray[np.float64]:
    return np.array([(vertex.x, vertex.y) for vertex in vertices], np.float64).reshape(-1, 2)


def _malformed(what: str) -> ProviderFailed:
    return ProviderFailed(f"Google's reply is not of the form that its reference gives: {what}")


def _object(body: bytes) -> Json:
    try:
        answer = orjson.loads(body)
    except orjson.JSONDecodeError:
        answer = None
    return answer if isinstance(answer, dict) else {}


def _part(answer: Json, name: str) -> Json:
    part = answer.get(name)
    return part if isinstance(part, dict) else {}
