"""A request body that nobody may read."""

import io


class Unread(io.RawIOBase):
    """Fails where it is read: who sent it should have been refused before."""

    def readable(self) -> bool:
        """Return True: it could be read."""
        return True

    def readinto(self, buffer: object) -> int:
        """Fail."""
        del buffer
        raise AssertionError("the body was read")


def unread(length: int = 100_000) -> dict[str, object]:
    """Return what a WSGI environment holds where a body of a length must stay unread."""
    return {"wsgi.input": Unread(), "CONTENT_LENGTH": str(length)}
