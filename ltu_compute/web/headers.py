"""Headers for browsers: what they may do with a reply, and which pages may read it.

Sources: OWASP REST Security Cheat Sheet (security headers), the Fetch standard (CORS), RFC 6797
(Strict-Transport-Security).
"""

from collections.abc import Iterable

from flask import Flask, Response, request

from ltu_compute.settings import Settings
from ltu_compute.web import unused
from ltu_compute.web.dialect import Dialect

# Replies are for programs: nothing in them is to be run, drawn or framed. Pages bring their own.
POLICY = "default-src 'none'; frame-ancestors 'none'"
METHODS = "GET, POST, PUT, PATCH, DELETE"
ACCEPTED = "Authorization, Content-Type, X-Request-ID"
EXPOSED = ("X-Request-ID", "Retry-After", "WWW-Authenticate", unused.HEADER)
PREFLIGHT_AGE_S = 600


def protect(app: Flask, settings: Settings, dialects: Iterable[Dialect] = ()) -> None:
    """Give every reply its headers.

    Parameters
    ----------
    app : Flask
        The service.
    settings : Settings
        Origins whose pages may call it, and for how long browsers keep to https.
    dialects : iterable of Dialect
        Whose reply headers pages may read.
    """
    exposed = dict.fromkeys([*EXPOSED, *(name for d in dialects for name in d.header_meanings())])
    origins = frozenset(settings.cors_origins)

    @app.after_request
    def _protected(response: Response) -> Response:
        headers = response.headers
        headers["X-Content-Type-Options"] = "nosniff"
        headers["Referrer-Policy"] = "no-referrer"
        headers["X-Frame-Options"] = "DENY"
        headers.setdefault("Content-Security-Policy", POLICY)
        if request.is_secure and settings.hsts_max_age:
            headers["Strict-Transport-Security"] = f"max-age={settings.hsts_max_age}"
        if origins:
            _share(response, origins, ", ".join(exposed))
        return response


def _share(response: Response, origins: Iterable[str], exposed: str) -> None:
    """Let the pages of some origins read a reply, and send what it takes to ask for one.

    There are no cookies, so credentials are never allowed, and any origin may be.
    """
    response.vary.add("Origin")
    origin = request.headers.get("Origin", "")
    if not origin or (origin not in origins and "*" not in origins):
        return
    headers = response.headers
    headers["Access-Control-Allow-Origin"] = origin
    headers["Access-Control-Expose-Headers"] = exposed
    if request.method == "OPTIONS" and "Access-Control-Request-Method" in request.headers:
        response.vary.update(("Access-Control-Request-Method", "Access-Control-Request-Headers"))
        headers["Access-Control-Allow-Methods"] = METHODS
        headers["Access-Control-Allow-Headers"] = ACCEPTED
        headers["Access-Control-Max-Age"] = str(PREFLIGHT_AGE_S)
