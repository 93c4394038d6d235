import cv2
import numpy as np
import pytest

from ltu_compute.kernels.barcodes import read_barcodes
from tests.support.drawn_codes import (
    bars,
    code_128,
    code_128_modules,
    ean_13,
    ean_13_digits,
    ean_13_modules,
    qr_code,
    worn,
    zint_code,
)


def texts(picture):
    return [(code.symbology, code.text) for code in read_barcodes(picture) if code.text]


def test_the_drawing_is_that_of_the_standard():
    """The example of ISO/IEC 15420 and of GS1's General Specifications: 5901234123457."""
    assert ean_13_digits("590123412345") == "5901234123457"
    left = "0001011 0100111 0110011 0010011 0111101 0011101"
    right = "1100110 1101100 1000010 1011100 1001110 1000100"
    expected = f"101 {left} 01010 {right} 101".replace(" ", "")
    assert ean_13_modules("5901234123457") == expected


@pytest.mark.parametrize(
    ("twelve", "said"),
    [
        ("590123412345", ("EAN-13", "5901234123457")),
        ("400638133393", ("EAN-13", "4006381333931")),
        ("978030640615", ("EAN-13", "9780306406157")),
        # An EAN-13 that starts with 0 has the very bars of a UPC-A.
        ("003600029145", ("UPC-A", "036000291452")),
    ],
)
def test_ean_13(twelve, said):
    assert texts(ean_13(twelve).picture) == [said]


def test_ean_8():
    """The modules of 9638-5074, written out from the standard's tables."""
    left, right = "0001011 0101111 0111101 0110111", "1001110 1110010 1000100 1011100"
    modules = f"101 {left} 01010 {right} 101".replace(" ", "")
    assert texts(bars(modules, module_px=4).picture) == [("EAN-8", "96385074")]


@pytest.mark.parametrize("text", ["PART-00417", "0123456789", "Wikipedia", "a~{}|B", "X12345"])
def test_code_128(text):
    assert texts(code_128(text).picture) == [("Code 128", text)]


@pytest.mark.parametrize(
    ("values", "text"),
    [
        # Start A, "A", Shift, "a" (of set B), "B"
        ([103, 33, 98, 65, 34], "AaB"),
        # Start A: 64 is NUL, 73 is tab
        ([103, 33, 73, 34], "A\tB"),
        # Start C, FNC1 (GS1-128: left out at the front, a separator within), 12, FNC1, 34
        ([105, 102, 12, 102, 34], "12\x1d34"),
        # Start B, "a", to C, 12, to A, "B"
        ([104, 65, 99, 12, 101, 34], "a12B"),
        # FNC4 adds 128 to the next character: Latin-1's a with an acute accent
        ([104, 100, 65, 66], "áb"),
    ],
)
def test_code_sets(values, text):
    check = (values[0] + sum(place * value for place, value in enumerate(values[1:], 1))) % 103
    picture = bars(code_128_modules([*values, check])).picture
    assert texts(picture) == [("Code 128", text)]


def test_a_wrong_check_digit_is_not_read():
    right = ean_13_modules("5901234123457")
    wrong = ean_13_modules("5901234123458")
    assert texts(bars(right).picture)
    assert not texts(bars(wrong).picture)
    assert not texts(bars(code_128_modules([104, 33, 34, 50])).picture)


@pytest.mark.parametrize("draw", [lambda: ean_13("400638133393"), lambda: code_128("PART-00417")])
@pytest.mark.parametrize(
    "wear",
    [
        {"turned": 17},
        {"turned": 90},
        {"turned": 180},
        {"turned": 225},
        {"tilt": 0.4},
        {"blur": 1.8},
        {"noise": 40},
        {"contrast": 0.3},
        {"turned": -20, "tilt": 0.2, "blur": 1.5, "noise": 15},
    ],
    ids=str,
)
def test_worn_codes_are_read_where_they_are(draw, wear):
    drawn = draw()
    (_, said), *_ = texts(drawn.picture)
    seen = worn(drawn, **wear)
    (code,) = [code for code in read_barcodes(seen.picture) if code.text]
    assert code.text == said
    # The corners of the symbol as it is held upright; its height is known to some cells of 4 px.
    assert np.abs(code.corners - seen.corners).max() < 20
    across = code.corners[1] - code.corners[0]
    assert across @ (seen.corners[1] - seen.corners[0]) > 0


def test_ink_that_spreads_is_allowed_for():
    picture = ean_13("400638133393", module_px=5).picture
    spread = cv2.erode(picture, np.ones((1, 3), np.uint8))
    assert texts(spread) == [("EAN-13", "4006381333931")]
    picture = code_128("PART-00417", module_px=5).picture
    assert texts(cv2.erode(picture, np.ones((1, 4), np.uint8))) == [("Code 128", "PART-00417")]


def test_several_codes():
    page = np.full((700, 900), 255, np.uint8)
    for y, drawn in ((40, ean_13("590123412345")), (300, code_128("PART-00417"))):
        height, width = drawn.picture.shape
        page[y : y + height, 60 : 60 + width] = drawn.picture
    assert set(texts(page)) == {("EAN-13", "5901234123457"), ("Code 128", "PART-00417")}


def test_stripes_are_no_code():
    """A grating has bars, but encodes nothing."""
    grating = np.tile(np.repeat([0, 255], 4).astype(np.uint8), (200, 60))
    assert not texts(grating)
    noise = np.random.default_rng(3).integers(0, 256, (400, 600), dtype=np.uint8)
    assert not texts(noise)


def test_unreadable_bars_are_found_if_they_look_like_a_code():
    """Bars of a wrong check digit are found; a grating, few bars, and unequal bars are not."""
    said_nothing = ean_13_modules("5901234123458")  # wrong check digit
    (code,) = read_barcodes(bars(said_nothing).picture)[:1]
    assert (code.text, code.symbology) == ("", "")
    shape, correlation = code.features
    assert 0 < shape <= 1.9
    assert correlation > np.arctanh(0.99)

    grating = np.tile(np.repeat([0, 255], 4).astype(np.uint8), (200, 60))
    assert read_barcodes(grating) == ()
    assert read_barcodes(bars("1011001000110101110010011").picture) == ()  # 16 edges
    assert read_barcodes(bars(said_nothing * 2, height=30).picture) == ()  # flatter than a tenth

    rng = np.random.default_rng(8)
    rows = rng.integers(0, 2, (15, 80)).astype(np.uint8) * 255
    changing = cv2.resize(np.repeat(rows, 8, axis=0), None, fx=5, fy=1.5)
    assert all(found.features[1] < np.arctanh(0.9) for found in read_barcodes(changing))


# ------------------------------------------------------------------------------------- other kinds

PART = "PART-00417-LOT7"
OTHERS = {
    "QR code": ("QR Code", PART),
    "Data Matrix": ("Data Matrix", PART),
    "Aztec code": ("Aztec", PART),
    "PDF417": ("PDF417", PART),
    "ITF": ("ITF", "12345678901231"),
    "Code 39": ("Code 39", "PART-417"),
    "Code 93": ("Code 93", "PART-417"),
    "Codabar": ("Codabar", "A41722B"),
    "DataBar": ("DataBar Omni", "0101234567890128"),
}
ZINT = {"QR code": "QRCode", "Data Matrix": "DataMatrix", "Aztec code": "Aztec"}


def drawn_other(name, **drawing):
    content = "0123456789012" if name == "DataBar" else OTHERS[name][1]
    symbology = "DataBarOmni" if name == "DataBar" else ZINT.get(name, name.replace(" ", ""))
    return zint_code(content, symbology, **drawing)


@pytest.mark.parametrize("wear", [{}, {"turned": 90}, {"turned": 205}, {"contrast": -1}], ids=str)
@pytest.mark.parametrize("name", OTHERS)
def test_other_symbologies(name, wear):
    seen = worn(drawn_other(name), **wear)
    (code,) = [code for code in read_barcodes(seen.picture) if code.text]
    assert (code.symbology, code.text) == OTHERS[name]
    assert code.kind == (name if name in ZINT else "Barcode")
    apart = np.hypot(*(code.corners[:, None] - seen.corners).transpose(2, 0, 1))
    assert apart.min(axis=1).max() < 25


@pytest.mark.parametrize("name", OTHERS)
def test_codes_without_a_quiet_zone_are_read(name):
    """The code fills the picture up to its edges."""
    assert [code.text for code in read_barcodes(drawn_other(name, quiet=0).picture)] == [
        OTHERS[name][1]
    ]


@pytest.mark.parametrize(
    ("mode", "text"),
    [
        (cv2.QRCodeEncoder_MODE_KANJI, "石積籍績"),
        (cv2.QRCodeEncoder_MODE_ECI, "Größe 5 µm"),
        (cv2.QRCodeEncoder_MODE_BYTE, "Größe 5 µm"),
        (cv2.QRCodeEncoder_MODE_ALPHANUMERIC, "LOT 7/4"),
    ],
)
def test_a_qr_code_is_read_in_its_declared_encoding(mode, text):
    """Drawn by OpenCV's encoder, which takes Kanji as Shift JIS."""
    parameters = cv2.QRCodeEncoder.Params()
    parameters.mode = mode
    sent = text.encode("shift-jis") if mode == cv2.QRCodeEncoder_MODE_KANJI else text
    assert texts(qr_code(sent, parameters=parameters).picture) == [("QR Code", text)]


def test_a_part_of_an_itf_code_is_not_read():
    """A scan that leaves ITF's bars through their side ends with fewer digits, unnoticed."""
    drawn = zint_code("12345678901231", "ITF")
    for turned in range(0, 180, 12):
        for wear in ({}, {"blur": 1.2, "noise": 15}):
            said = {text for _, text in texts(worn(drawn, turned=turned, **wear).picture)}
            assert said <= {"12345678901231"}, (turned, wear)
    # Cut in two, it is another code, whose ends nobody knows: not the digits of one half.
    half = drawn.picture[:, : drawn.picture.shape[1] // 2]
    assert texts(half) == []


def test_upc_e_says_the_twelve_digits_it_stands_for():
    """GS1 General Specifications, 5.2.2.4: 0 123456 5 is 0 12345 00006 5."""
    drawn = zint_code("01234565", "UPCE")
    assert texts(drawn.picture) == [("UPC-E", "012345000065")]


@pytest.mark.parametrize("size", [(1, 1), (1, 300), (300, 1), (23, 23), (0, 5)])
def test_pictures_too_small_for_a_code(size):
    assert read_barcodes(np.zeros(size, np.uint8)) == ()


def test_only_requested_kinds_of_codes_are_read():
    page = np.full((400, 700), 255, np.uint8)
    for x, drawn in ((20, ean_13("590123412345")), (420, qr_code("A1"))):
        height, width = drawn.picture.shape
        page[20 : 20 + height, x : x + width] = drawn.picture
    assert {code.kind for code in read_barcodes(page, linear=False)} == {"QR code"}
    assert {code.kind for code in read_barcodes(page, matrix=False) if code.text} == {"Barcode"}
