"""Output of ``ltu-compute serve --quickstart``: the service's address, and a line to try."""

import shlex
from pathlib import Path

from ltu_compute.auth.keycloak import TOKEN_PATH
from ltu_compute.auth.tokens import CLIENT_ID
from ltu_compute.serving.preparation import FIRST_ACCOUNT, Credentials

IMAGES = Path("fixtures/images")


def welcome(address: str, account: Credentials | None, data_dir: Path) -> str:
    """Return what is printed once the service listens.

    Parameters
    ----------
    address : str
        Of the service.
    account : Credentials, optional
        The first account; None if its file does not open it any more.
    data_dir : Path
        Where that file is.
    """
    kept = data_dir / FIRST_ACCOUNT
    head = f"\nltu-compute   {address}   (Swagger: {address}/docs)\n"
    if account is None:
        return (
            f"{head}Account       none that {kept} still opens; `ltu-compute user list` lists them"
            "\n\n"
        )
    return (
        f"{head}Account       {account.username}   password {account.password}   (kept in {kept})\n"
        f"Try it, from this folder in another terminal:\n\n{_curl_line(address, account)}\n\n"
    )


def _curl_line(address: str, account: Credentials) -> str:
    """Return a shell line that logs in and compares two photographs."""
    token = (
        f"curl -sS -d grant_type=password -d client_id={CLIENT_ID}"
        f" --data-urlencode {shlex.quote(f'username={account.username}')}"
        f" --data-urlencode {shlex.quote(f'password={account.password}')} {address}{TOKEN_PATH}"
        r""" | sed 's/.*"access_token":"\([^"]*\).*/\1/'"""
    )
    return (
        f'curl -sS -H "Authorization: Bearer $({token})"'
        f" -F image1=@{IMAGES / 'part-reference.jpg'} -F image2=@{IMAGES / 'part-shot.jpg'}"
        f" -F preset=1 -F mask_type=contours {address}/v2/services/image/differences"
    )
