"""A process of its own that holds one ONNX model and runs it.

Run as a file, with no more than it needs: an empty environment, no working directory, bounds on
memory, time and what it may write. A model that hangs, crashes or asks for too much takes this
process down and nothing else. It talks over its standard streams; `session.Session` is the other
end.

A message is a length (4 bytes, big-endian), that many bytes of JSON, and then as many bytes of
arrays as the JSON's ``bytes`` says.
"""

import hashlib
import json
import os
import re
import resource
import signal
import stat
import struct
import sys
import textwrap
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

MIN_OPSET = 7  # what ONNX Runtime is compatible with
MAX_OUTPUT_BYTES = 64 << 20
MAX_DEPTH = 100  # of messages within messages, as protobuf's own parsers have it
LENGTH = struct.Struct(">I")

# Fields of ONNX messages by their numbers (onnx.proto), as far as they lead to tensors.
FIELDS = {
    "ModelProto": {7: "GraphProto", 20: "TrainingInfoProto", 25: "FunctionProto"},
    "TrainingInfoProto": {1: "GraphProto", 2: "GraphProto"},
    "GraphProto": {1: "NodeProto", 5: "TensorProto", 15: "SparseTensorProto"},
    "FunctionProto": {7: "NodeProto", 11: "AttributeProto"},
    "NodeProto": {5: "AttributeProto"},
    "AttributeProto": {
        5: "TensorProto",
        6: "GraphProto",
        10: "TensorProto",
        11: "GraphProto",
        22: "SparseTensorProto",
        23: "SparseTensorProto",
    },
    "SparseTensorProto": {1: "TensorProto", 2: "TensorProto"},
    "TensorProto": {},
}
EXTERNAL_DATA, DATA_LOCATION = 13, 14  # of TensorProto
OPSET_IMPORT = 8  # of ModelProto
OPSET_DOMAIN, OPSET_VERSION = 1, 2  # of OperatorSetIdProto
OWN_DOMAINS = (b"", b"ai.onnx")

MAX_REASON = 300  # characters of ONNX Runtime's own words that are repeated
MAX_LOOKED_AT = 4000  # of them, in which names from the model may be of any length
NO_MEMORY = ("bad_alloc", "failed to allocate memory", "out of memory")  # its words for that
# What its messages begin with: its code, and the place in its own source, of which the function's
# signature and a failed condition are part.
CODE = re.compile(r"\[ONNXRuntimeError\] : \d+ : \w+ : ")
PLACE = re.compile(
    r"\S+\.(?:cc|cpp|cu|h|hpp):\d+ (?:[^()]*::[^()]*\([^()]*\)(?: const)? )?(?:.* was false\. )?"
)


class Refused(Exception):
    """A model that is not accepted; the message says why."""


def _varint(content: memoryview, position: int) -> tuple[int, int]:
    """Return the number at a position, and the position behind it."""
    value = 0
    for count in range(10):
        byte = content[position + count]
        value |= (byte & 0x7F) << 7 * count
        if byte < 0x80:
            return value, position + count + 1
    raise Refused("it is not an ONNX file: a number is too long")


def fields(message: memoryview) -> Iterator[tuple[int, int | memoryview]]:
    """Yield number and value of every field of a protobuf message, in the file's order.

    Source: the protobuf encoding, https://protobuf.dev/programming-guides/encoding.
    """
    position = 0
    try:
        while position < len(message):
            tag, position = _varint(message, position)
            number, kind = tag >> 3, tag & 7
            if tag >> 32:  # a parser that drops the bits beyond would see another field
                raise Refused("it is not an ONNX file: a field's number is too large")
            if kind == 0:
                value, position = _varint(message, position)
                yield number, value
                continue
            if kind == 2:
                length, position = _varint(message, position)
            elif kind in (1, 5):
                length = 8 if kind == 1 else 4
            else:
                raise Refused(f"it is not an ONNX file: a field is of kind {kind}")
            if position + length > len(message):
                raise Refused("it is not an ONNX file, or cut off")
            yield number, message[position : position + length]
            position += length
    except IndexError:
        raise Refused("it is not an ONNX file, or cut off") from None


def refuse_external_data(message: memoryview, kind: str = "ModelProto", depth: int = 0) -> None:
    """Refuse a model with a tensor, wherever it is, whose values are in another file.

    ONNX Runtime would read them from there; what keeps it within the model's folder has changed
    with its versions. A model here is one file.
    """
    if depth > MAX_DEPTH:
        raise Refused("its graphs are nested too deeply")
    for number, value in fields(message):
        if kind == "TensorProto" and (
            number == EXTERNAL_DATA or (number == DATA_LOCATION and value != 0)
        ):
            raise Refused("it refers to external data; a model must be one file")
        inner = FIELDS[kind].get(number)
        if inner is None:
            continue
        if not isinstance(value, memoryview):
            raise Refused(f"it is not an ONNX file: field {number} of {kind} is a number")
        refuse_external_data(value, inner, depth + 1)


def opset(model: memoryview) -> int:
    """Return the version of ONNX's own operators that a model was made for."""
    for number, value in fields(model):
        if number != OPSET_IMPORT or not isinstance(value, memoryview):
            continue
        found = dict(fields(value))
        domain, version = found.get(OPSET_DOMAIN, b""), found.get(OPSET_VERSION, 0)
        if domain in OWN_DOMAINS and isinstance(version, int):
            return version
    raise Refused("it is not an ONNX model: it names no opset")


def content_of(path: Path, max_bytes: int) -> bytes:
    """Return the content of a file.

    Raises
    ------
    Refused
        It has more bytes, or is none: a named pipe or a device may never end, or never begin.
    OSError
        It cannot be read.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        state = os.fstat(descriptor)
        if not stat.S_ISREG(state.st_mode):
            raise Refused(f"{path.name} is not a regular file")
        if state.st_size <= max_bytes:
            with open(descriptor, "rb", closefd=False) as file:
                content = file.read(max_bytes + 1)
            if len(content) <= max_bytes:
                return content
        raise Refused(f"{path.name} has over {max_bytes} bytes")
    finally:
        os.close(descriptor)


def same_content_of(path: Path, max_bytes: int, expected: str) -> tuple[bytes, str]:
    """Return the content of a file and its SHA-256, which must be the one expected, or "" for any.

    Raises
    ------
    Refused, OSError
        As `content_of`, and where the file is another one.
    """
    content = content_of(path, max_bytes)
    digest = hashlib.sha256(content).hexdigest()
    if expected not in ("", digest):
        raise Refused(f"{path.name} was changed since the service started; restart the service")
    return content, digest


def load(content: bytes, *, arena: bool = True) -> tuple[Any, int]:
    """Return an inference session of a model, and its opset, after checking it.

    With an arena, it keeps the memory that its largest run has needed.

    Raises
    ------
    Refused
        The model is of another format, too old or too new, or refers to other files.
    """
    view = memoryview(content)
    refuse_external_data(view)
    version = opset(view)
    if version < MIN_OPSET:
        raise Refused(f"its opset is {version}, allowed is from {MIN_OPSET} up")
    return session_of(content, arena=arena), version


def session_of(content: bytes, *, arena: bool = True) -> Any:
    """Return an inference session of a model that has been checked; the rest is as in `load`.

    Raises
    ------
    Refused
        ONNX Runtime is not installed.
    """
    try:
        import onnxruntime  # noqa: PLC0415  (after the bounds are set, and after forking)
    except ImportError:
        raise Refused("ONNX Runtime is not installed; pip install onnxruntime adds it") from None
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.use_deterministic_compute = True
    options.enable_cpu_mem_arena = arena
    options.log_severity_level = 4
    # Not its own format, which is recognised by a few bytes and was not checked here.
    options.add_session_config_entry("session.load_model_format", "ONNX")
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    # It keeps the file's content for other providers: as much memory again as its weights take.
    session._model_bytes = None  # noqa: SLF001
    return session


def _described(session: Any, version: int, digest: str) -> dict[str, Any]:
    return {
        "sha256": digest,
        "opset": version,
        "inputs": [
            {"name": found.name, "type": found.type, "shape": list(found.shape)}
            for found in session.get_inputs()
        ],
        "outputs": [found.name for found in session.get_outputs()],
    }


def _run(session: Any, header: dict[str, Any], content: bytes) -> tuple[dict[str, Any], bytes]:
    import numpy as np  # noqa: PLC0415  (as above)

    names = [found.name for found in session.get_outputs()]
    tensor = np.frombuffer(content, header["dtype"]).reshape(header["shape"])
    found = session.run(names, {session.get_inputs()[0].name: tensor})
    outputs, contents = [], []
    for name, output in zip(names, found, strict=True):
        if not isinstance(output, np.ndarray) or output.dtype.kind not in "fiu":
            raise Refused(f"its output {name} is not an array of numbers")
        outputs.append({"name": name, "shape": output.shape, "dtype": output.dtype.str})
        contents.append(output.tobytes())
    size = sum(map(len, contents))
    if size > MAX_OUTPUT_BYTES:
        raise Refused(f"its outputs have {size} bytes, allowed are {MAX_OUTPUT_BYTES}")
    return {"outputs": outputs}, b"".join(contents)


def send(stream: IO[bytes], header: dict[str, Any], content: bytes | memoryview = b"") -> None:
    """Write a message."""
    text = json.dumps(header | {"bytes": len(content)}).encode()
    stream.write(LENGTH.pack(len(text)) + text)
    stream.write(content)
    stream.flush()


def receive(stream: IO[bytes], first: bytes = b"") -> tuple[dict[str, Any], bytes] | None:
    """Return a message, of which some bytes may have been read; ``None`` where the stream ends."""
    start = first + stream.read(LENGTH.size - len(first))
    if len(start) < LENGTH.size:
        return None
    text = stream.read(LENGTH.unpack(start)[0])
    header: dict[str, Any] = json.loads(text) if text else {}
    content = stream.read(header.get("bytes", 0))
    return (header, content) if len(content) == header.get("bytes", -1) else None


def main(path: Path, max_bytes: int, memory: int, seconds: float, expected: str) -> None:
    """Load a model, report its inputs and outputs, and run it on tensors until the pipe closes.

    A file of another SHA-256 than expected is not loaded; "" allows any.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal's Ctrl-C is for the service
    signal.signal(signal.SIGALRM, signal.SIG_DFL)  # ends the process, whatever it does
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGALRM})
    source, replies = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what libraries print is no reply
    try:
        content, digest = same_content_of(path, max_bytes, expected)
        resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
        resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        with suppress(ImportError):  # reported when the model is loaded
            import onnxruntime  # noqa: F401, PLC0415  (slow when busy; no fault of the model)
        signal.setitimer(signal.ITIMER_REAL, seconds)
        session, version = load(content)
        del content
    except Exception as error:  # noqa: BLE001  (whatever it is, it is the model's fault and reported)
        send(replies, {"error": reason_of(error)})
        return
    send(replies, _described(session, version, digest))
    signal.setitimer(signal.ITIMER_REAL, 0)
    while first := source.read(1):
        signal.setitimer(signal.ITIMER_REAL, seconds)
        message = receive(source, first)
        if message is None:
            return
        try:
            send(replies, *_run(session, *message))
        except Exception as error:  # noqa: BLE001  (as above)
            send(replies, {"error": reason_of(error)})
        signal.setitimer(signal.ITIMER_REAL, 0)


def reason_of(error: Exception) -> str:
    """Return what went wrong with a model, for people."""
    text = str(error).lower()
    if isinstance(error, MemoryError) or any(words in text for words in NO_MEMORY):
        return "it needs more memory than it may have"
    if isinstance(error, Refused):
        return str(error)
    if isinstance(error, OSError):
        return f"it cannot be read: {error.strerror}"
    text = " ".join(str(error)[:MAX_LOOKED_AT].split())
    text = PLACE.sub("", CODE.sub("", text)) or type(error).__name__
    shown = textwrap.shorten(text, MAX_REASON, placeholder=" …")
    return f"ONNX Runtime does not take it: {shown}"


if __name__ == "__main__":
    given = sys.argv[1:]
    main(Path(given[0]), int(given[1]), int(given[2]), float(given[3]), given[4])
