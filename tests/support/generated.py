"""Requests that Schemathesis makes up from the service's own description.

It takes 1.3 s of processor time to import: only a test does.
"""

import base64
from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
import schemathesis
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from schemathesis.config import SchemathesisConfig
from schemathesis.core.result import Ok
from schemathesis.pytest.lazy import get_all_tests

from tests.support.client import IMAGES, ROOT


def _files() -> list[bytes]:
    """Small pictures: computing on them, or spelling them in an address, is not what is tested."""
    rng = np.random.default_rng(7)
    blocks = np.kron(rng.integers(0, 256, (5, 5, 3), np.uint8), np.ones((8, 8, 1), np.uint8))
    photograph = cv2.imread(str(IMAGES / "chelsea.jpg"))
    small = cv2.resize(photograph, (72, 48), interpolation=cv2.INTER_AREA)
    encoded = [
        cv2.imencode(".jpg", small, [cv2.IMWRITE_JPEG_QUALITY, 80])[1],
        cv2.imencode(".png", blocks)[1],
        cv2.imencode(".gif", blocks)[1],
        cv2.imencode(".png", np.full((9, 14), 200, np.uint8))[1],
    ]
    return [content.tobytes() for content in encoded]


FILES = _files()
RUBBISH = [b"", b"GIF89a", FILES[0][:200], FILES[1][:-9], b"%PDF-1.7", bytes(40)]

contents = st.sampled_from(FILES) | st.sampled_from(RUBBISH) | st.binary(max_size=60)
texts = (
    contents.map(lambda content: base64.b64encode(content).decode())
    | contents.map(lambda content: f"data:image/png;base64,{base64.b64encode(content).decode()}")
    | st.sampled_from(["http://127.0.0.1/x.png", "http://[::1]:8000/", "https://", "http://a b/"])
    | st.text(min_size=1, max_size=40)
)
schemathesis.openapi.format("binary", contents)
schemathesis.openapi.format("image", texts)


MODEL_NEEDED = "SALIENT"  # an algorithm of objectMaskDetection
FORMS = {"multipart/form-data", "application/x-www-form-urlencoded"}


@schemathesis.hook
def filter_case(_context: schemathesis.HookContext, case: schemathesis.Case) -> bool:
    """A form cannot say that a list is empty: it would be sent without it, and rightly accepted.

    Null is read as one value, of which a list may be made: it counts as not given in both.
    """
    values = case.body.values() if isinstance(case.body, dict) else ()
    if any(value == [None] for value in values):
        return False
    sent = {**(case.query or {}), **(case.body if isinstance(case.body, dict) else {})}
    if str(sent.get("algorithm", "")).upper() == MODEL_NEEDED:
        return False  # 503: no model is installed here
    return case.media_type not in FORMS or not any(value in ([], {}) for value in values)


def requests_of(
    document: dict[str, Any], operation: str, ask: Callable[..., None], examples: int
) -> Callable[..., None]:
    """Return a test that asks for an operation with each request that is made of it.

    Parameters
    ----------
    document : dict
        An OpenAPI document.
    operation : str
        A method and a path.
    ask : callable
        What sends a ``schemathesis.Case``, the test's keywords beside it.
    examples : int
        How many random requests are made, besides the systematic ones.
    """
    schema = schemathesis.openapi.from_dict(
        document, config=SchemathesisConfig.from_path(ROOT / "tests" / "schemathesis.toml")
    )
    one = schema.exclude(lambda context: context.operation.label != operation)
    random = settings(
        max_examples=examples,
        deadline=None,
        derandomize=True,
        suppress_health_check=list(HealthCheck),
    )
    (made,) = get_all_tests(schema=one, test_func=ask, settings=random, given_kwargs=None)
    assert isinstance(made, Ok), made.err()
    return made.ok()[1]
