"""ICC profiles (version 2) built from what defines a colour space, and values that are known."""

import struct
from collections.abc import Sequence

import numpy as np

D50 = np.array([0.9642, 1, 0.8249])
D65 = np.array([0.95047, 1, 1.08883])
BRADFORD = np.array(
    [[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]]
)

Point = tuple[float, float]
SRGB: Sequence[Point] = ((0.64, 0.33), (0.30, 0.60), (0.15, 0.06))
DISPLAY_P3: Sequence[Point] = ((0.68, 0.32), (0.265, 0.69), (0.15, 0.06))
ADOBE_RGB: Sequence[Point] = ((0.64, 0.33), (0.21, 0.71), (0.15, 0.06))
"""Red, green and blue as x, y; white is D65."""


def xyz_of_primaries(primaries: Sequence[Point]) -> np.ndarray:
    """Return the matrix from linear RGB to XYZ of D50 (Bradford)."""
    columns = np.array([[x / y, 1, (1 - x - y) / y] for x, y in primaries]).T
    adapt = np.linalg.inv(BRADFORD) @ np.diag((BRADFORD @ D50) / (BRADFORD @ D65)) @ BRADFORD
    return np.asarray(adapt @ (columns * np.linalg.solve(columns, D65)))


def _fixed(values: Sequence[float]) -> bytes:
    return b"".join(struct.pack(">i", round(value * 65536)) for value in values)


def _curve(gamma: float | None) -> bytes:
    """Return a transfer curve: a power, or that of sRGB as a table."""
    if gamma is not None:
        return b"curv\0\0\0\0" + struct.pack(">IH", 1, round(gamma * 256))
    v = np.linspace(0, 1, 1024)
    linear = np.where(v <= 0.04045, v / 12.92, ((v + 0.055) / 1.055) ** 2.4)
    return (
        b"curv\0\0\0\0" + struct.pack(">I", 1024) + (linear * 65535).round().astype(">u2").tobytes()
    )


def profile(tags: dict[bytes, bytes], *, device: bytes, space: bytes, connection: bytes) -> bytes:
    """Build a profile of a device class, a colour space and a connection space."""
    tags = {
        b"desc": b"desc\0\0\0\0" + struct.pack(">I", 5) + b"test\0" + bytes(78),
        b"cprt": b"text\0\0\0\0none\0",
        b"wtpt": b"XYZ \0\0\0\0" + _fixed(D50),
        **tags,
    }
    start, table, body = 132 + 12 * len(tags), struct.pack(">I", len(tags)), b""
    for key, value in tags.items():
        table += key + struct.pack(">II", start + len(body), len(value))
        body += value + bytes(-len(value) % 4)
    head = struct.pack(">I4sI4s4s4s", 0, bytes(4), 0x02100000, device, space, connection)
    head += bytes(12) + b"acsp" + bytes(28) + _fixed(D50)
    whole = head.ljust(128, b"\0") + table + body
    return struct.pack(">I", len(whole)) + whole[4:]


def rgb_profile(primaries: Sequence[Point], gamma: float | None = None) -> bytes:
    """Build the profile of a display by its primaries; without gamma, the curve of sRGB."""
    columns = xyz_of_primaries(primaries).T
    tags = {
        key: b"XYZ \0\0\0\0" + _fixed(column)
        for key, column in zip((b"rXYZ", b"gXYZ", b"bXYZ"), columns, strict=True)
    }
    tags |= dict.fromkeys((b"rTRC", b"gTRC", b"bTRC"), _curve(gamma))
    return profile(tags, device=b"mntr", space=b"RGB ", connection=b"XYZ ")


def grey_profile(gamma: float) -> bytes:
    """Build the profile of a grey scale."""
    return profile({b"kTRC": _curve(gamma)}, device=b"mntr", space=b"GRAY", connection=b"XYZ ")


# L, a, b of full inks on paper, by cyan, magenta, yellow: roughly those of offset print.
INKS = {
    (0, 0, 0): (100, 0, 0),
    (1, 0, 0): (55, -37, -50),
    (0, 1, 0): (48, 74, -3),
    (0, 0, 1): (89, -5, 93),
    (1, 1, 0): (24, 22, -46),
    (1, 0, 1): (50, -68, 33),
    (0, 1, 1): (47, 68, 48),
    (1, 1, 1): (23, 0, 0),
}


def ink_profile() -> bytes:
    """Build the profile of a press: Lab at full and no ink, linear between; black is black."""
    nodes = b""
    for node in np.ndindex(2, 2, 2, 2):
        lightness, a, b = INKS[node[:3]] if not node[3] else (0, 0, 0)  # type: ignore[index]
        nodes += bytes((round(lightness * 2.55), a + 128, b + 128))
    straight = bytes(range(256))
    lut = b"mft1\0\0\0\0" + bytes((4, 3, 2, 0)) + _fixed([1, 0, 0, 0, 1, 0, 0, 0, 1])
    tags = dict.fromkeys((b"A2B0", b"A2B1"), lut + straight * 4 + nodes + straight * 3)
    return profile(tags, device=b"prtr", space=b"CMYK", connection=b"Lab ")


def srgb_of_lab(lab: Sequence[float]) -> np.ndarray:
    """Return the sRGB values, 0 to 255, of L, a, b under D50 (CIE 15)."""
    fy = (lab[0] + 16) / 116
    f = np.array([fy + lab[1] / 500, fy, fy - lab[2] / 200])
    xyz = np.where(f > 6 / 29, f**3, 3 * (6 / 29) ** 2 * (f - 4 / 29)) * D50
    linear = np.clip(np.linalg.solve(xyz_of_primaries(SRGB), xyz), 0, 1)
    encoded = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    return np.asarray(encoded * 255)
