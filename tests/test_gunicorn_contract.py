"""What `ltu_compute.serving` relies on inside gunicorn, name by name.

gunicorn documents none of it. A release that renames, removes or rewrites one of these fails here:
read what changed, adapt `ltu_compute/serving`, run `benchmarks.stress.reliability`, and only then
write the new signature or fingerprint down.
"""

import ast
import hashlib
import inspect
import textwrap
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gunicorn.http.parser
import pytest
from gunicorn import util
from gunicorn.app.base import BaseApplication
from gunicorn.arbiter import Arbiter
from gunicorn.config import Config
from gunicorn.glogging import Logger
from gunicorn.http import body, message, unreader, wsgi
from gunicorn.workers.base import Worker as BaseWorker
from gunicorn.workers.gthread import TConn, ThreadWorker

from ltu_compute import serving
from ltu_compute.serving.log import Log
from ltu_compute.serving.request import Request, RequestParser
from ltu_compute.serving.response import Response
from ltu_compute.serving.server import Server
from ltu_compute.serving.worker import Connection, Worker

# By class of ours: the methods that it overrides, and their parameters in gunicorn.
OVERRIDDEN: dict[type, dict[str, str]] = {
    Worker: {
        "accept": "(self, listener)",
        "on_pending_socket_readable": "(self, conn, client)",
        "on_client_socket_readable": "(self, conn, client)",
        "enqueue_req": "(self, conn)",
        "finish_request": "(self, conn, fs)",
        "handle": "(self, conn)",
        "handle_request": "(self, req, conn)",
        "_keepalive_after": "(self, conn, keepalive)",
        "handle_error": "(self, req, client, addr, exc)",
        "set_accept_enabled": "(self, enabled)",
        "_cap_keepalive": "(self, deadline)",
        "murder_pending": "(self)",
    },
    Connection: {"close": "(self, graceful=False)"},
    Request: {
        "parse": "(self, unreader)",
        "parse_request_line": "(self, line_bytes)",
        "set_body_reader": "(self)",
    },
    RequestParser: {},
    Response: {
        "send_headers": "(self)",
        "_emit_body": "(self, data)",
        "sendfile": "(self, respiter)",
        "close": "(self)",
    },
    Log: {"setup": "(self, cfg)"},
    Server: {"load_config": "(self)", "load": "(self)"},
}

# By class of ours: what it reads or sets of itself that gunicorn has defined.
USED: dict[type, set[str]] = {
    Worker: {
        "alive", "cfg", "keepalived_conns", "log", "max_keepalived", "nr_conns", "pending_conns",
        "poller", "sockets", "wsgi",
    },
    Connection: {"parser", "sock"},
    Request: {"_expected_100_continue", "headers", "max_buffer_headers", "version"},
    RequestParser: set(),
    Response: {
        "chunked", "default_headers", "force_close", "headers", "headers_sent", "req", "sock",
    },
    Log: {"error_log"},
    Server: {"cfg", "wsgi"},
}  # fmt: skip


class EmptyServer(BaseApplication):
    """gunicorn's own class with what it leaves to be written."""

    def load_config(self) -> None:
        pass

    def load(self) -> None:
        pass


def worker_of(config: Config) -> ThreadWorker:
    app = SimpleNamespace(wsgi=lambda: "the application")
    made = ThreadWorker(1, 1, [], app, 1, config, Logger(config))
    made.tmp.close()
    made.load_wsgi()
    return made


def instance_of(found: type) -> Any:
    """Return an instance of gunicorn's own class."""
    config = Config()
    pieces = iter([b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\n", b"x"])
    parser = gunicorn.http.parser.RequestParser(config, pieces, ("192.0.2.1", 1))
    request = next(parser)
    made: dict[type, Callable[[], Any]] = {
        Worker: lambda: worker_of(config),
        Connection: lambda: TConn(config, type("S", (), {"setblocking": int})(), None, None),
        Request: lambda: request,
        RequestParser: lambda: parser,
        Response: lambda: wsgi.Response(request, None, config),
        Log: lambda: Logger(config),
        Server: EmptyServer,
    }
    return made[found]()


@pytest.mark.parametrize("ours", OVERRIDDEN, ids=lambda ours: ours.__name__)
def test_overridden_methods_are_named_here_and_have_the_same_parameters(ours: type) -> None:
    base = ours.__mro__[1]
    own = {name for name, value in vars(ours).items() if inspect.isfunction(value)}
    overridden = {name for name in own if hasattr(base, name)} - {"__init__"}
    assert overridden == set(OVERRIDDEN[ours])
    for name, signature in OVERRIDDEN[ours].items():
        assert str(inspect.signature(getattr(base, name))) == signature, name


@pytest.mark.parametrize("ours", USED, ids=lambda ours: ours.__name__)
def test_attributes_of_gunicorn_are_named_here_and_exist(ours: type) -> None:
    tree = ast.parse(textwrap.dedent(inspect.getsource(ours)))
    read = {
        node.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute)
        and isinstance(node.value, ast.Name)
        and node.value.id == "self"
    }
    base = instance_of(ours)
    theirs = {name for name in read if name not in vars(ours) or hasattr(type(base), name)}
    own = {name for name in read if not hasattr(base, name)}
    defined = {
        node.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store)
    }
    assert own <= set(vars(ours)) | defined, "neither ours nor gunicorn's any more"
    assert theirs - own - set(OVERRIDDEN[ours]) == USED[ours]


def test_attributes_of_requests_and_bodies_exist() -> None:
    """Attributes of objects that gunicorn hands to ours."""
    parser = instance_of(RequestParser)
    request = parser.mesg
    assert isinstance(request, message.Request)
    assert parser.mesg_class is message.Request
    assert request.body.failed is False
    assert request.body.buf.tell() == 0
    reader = request.body.reader
    assert isinstance(reader, body.LengthReader)
    assert reader.length == 1
    assert isinstance(reader.unreader, unreader.IterUnreader)
    assert parser.unreader is reader.unreader
    assert parser.unreader.buf.getvalue() == b""
    parser.unreader.unread(b"abc")
    assert parser.unreader.take_buffered() == b"abc"
    sock = type("S", (), {"recv": lambda _, size: bytes(size)})()
    assert unreader.SocketUnreader(sock).sock is sock
    _, environ = wsgi.create(request, None, ("192.0.2.1", 1), ("192.0.2.2", 2), Config())
    assert environ["gunicorn.socket"] is None
    assert environ["wsgi.file_wrapper"]


def fingerprint(found: Callable[..., Any]) -> str:
    return hashlib.sha256(inspect.getsource(found).encode()).hexdigest()[:12]


FINGERPRINTS = {
    (ThreadWorker, "run"): "f92c7394d857",
    (ThreadWorker, "handle"): "ca85c9be3df7",
    (ThreadWorker, "finish_request"): "616e7bb15a00",
    (ThreadWorker, "enqueue_req"): "c9f428953d24",
    (ThreadWorker, "handle_request"): "6d0de5b91910",
    (ThreadWorker, "_keepalive_after"): "4ebdbbc8bf5a",
    (ThreadWorker, "murder_pending"): "7bf11f464542",
    (ThreadWorker, "murder_keepalived"): "4459960c4ccc",
    (ThreadWorker, "set_accept_enabled"): "140150ebfd3c",
    (ThreadWorker, "_cap_keepalive"): "745c8ac37108",
    (TConn, "init"): "5ff3d4ba451c",
    (BaseWorker, "handle_error"): "75426448389b",
    (Arbiter, "reap_workers"): "ebcf4187e9eb",
    (Arbiter, "signal"): "8b193e95e16a",
    (Arbiter, "spawn_worker"): "6abc0d90b0b9",
    (BaseWorker, "init_process"): "114caccd7a0e",
    (BaseWorker, "init_signals"): "65442e0602b0",
    (Arbiter, "stop"): "7138b6afd9c4",
    (message.Message, "__init__"): "14b64a40f29f",
    (message.Request, "parse"): "34c084607ae1",
    (message.Request, "_parse_python"): "ed07ffec5178",
    (message.Request, "parse_request_line"): "77187ebabb46",
    (gunicorn.http.parser.Parser, "__next__"): "b8536520e958",
    (body.LengthReader, "read"): "be99a0aa587f",
    (body.ChunkedReader, "parse_trailers"): "c2e578afedad",
    (unreader.Unreader, "take_buffered"): "89cef5e60e6f",
    (wsgi, "create"): "2c35d4a2dc62",
    (wsgi.Response, "default_headers"): "cb490cea5d6f",
    (wsgi.Response, "write"): "a13659ff072c",
    (wsgi.Response, "close"): "1e78fc7777ff",
    (util, "write"): "cd995031295f",
    (Logger, "setup"): "17c79acdddea",
}


@pytest.mark.parametrize(("owner", "name"), FINGERPRINTS, ids=lambda x: getattr(x, "__name__", x))
def test_overridden_sources_of_gunicorn_are_unchanged(owner: Any, name: str) -> None:
    assert fingerprint(getattr(owner, name)) == FINGERPRINTS[owner, name]


def test_gunicorn_is_imported_where_it_is_extended_and_nowhere_else() -> None:
    package = Path(serving.__file__).parent.parent
    users = {
        str(path.relative_to(package))
        for path in package.rglob("*.py")
        if "import gunicorn" in path.read_text() or "from gunicorn" in path.read_text()
    }
    assert users == {f"serving/{n}.py" for n in ("log", "request", "response", "server", "worker")}
