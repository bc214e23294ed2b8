"""Files that unfold to gigabytes raise an error before their pixels take any memory."""

import io
import json
import struct
import subprocess
import sys
import zlib

import numpy as np
import pytest
from PIL import Image

from clip_sae.datasets.images import BadImageError, check_image, decode_image

SIDE = 9_000  # 81 million pixels: Pillow would decode them without a word
ZEROS = zlib.compress(bytes(128 << 20), 1)


def saved(kind: str, **options) -> bytearray:
    pixels = np.random.default_rng(0).integers(0, 256, (8, 8, 3), np.uint8)
    content = io.BytesIO()
    Image.fromarray(pixels).save(content, kind, **options)
    return bytearray(content.getvalue())


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png(side: int) -> bytes:
    data = saved("PNG")
    header = struct.pack(">II", side, side) + bytes(data[24:29])
    return bytes(data[:8]) + chunk(b"IHDR", header) + bytes(data[33:])


def jpeg(side: int) -> bytes:
    data = saved("JPEG")
    start = data.index(b"\xff\xc0") + 5  # after marker, length and precision
    data[start : start + 4] = struct.pack(">HH", side, side)
    return bytes(data)


def gif(side: int) -> bytes:
    data = saved("GIF")
    data[6:10] = struct.pack("<HH", side, side)
    return bytes(data)


def gif_frame(side: int) -> bytes:
    """The screen is small, the first frame is not."""
    data = saved("GIF")
    at = data.index(b"\x2c\0\0\0\0") + 5
    data[at : at + 4] = struct.pack("<HH", side, side)
    return bytes(data)


def bmp(side: int) -> bytes:
    data = saved("BMP")
    data[18:26] = struct.pack("<ii", side, side)
    return bytes(data)


def tiff(side: int) -> bytes:
    data = saved("TIFF")
    [at] = struct.unpack("<I", data[4:8])
    [n] = struct.unpack("<H", data[at : at + 2])
    for entry in range(at + 2, at + 2 + 12 * n, 12):
        tag, kind = struct.unpack("<HH", data[entry : entry + 4])
        if tag in (256, 257, 278):  # width, length, rows per strip
            value = struct.pack("<H", side) + b"\0\0" if kind == 3 else struct.pack("<I", side)
            data[entry + 8 : entry + 12] = value
    return bytes(data)


def webp(side: int) -> bytes:
    data = saved("WEBP", lossless=True)
    at = data.index(b"VP8L") + 9  # after the chunk's length and its signature
    [bits] = struct.unpack("<I", data[at : at + 4])
    bits = (bits >> 28 << 28) | (side - 1) << 14 | (side - 1)
    data[at : at + 4] = struct.pack("<I", bits)
    return bytes(data)


def ppm(side: int) -> bytes:
    return f"P6 {side} {side} 255\n".encode() + b"\0" * 64


HEADERS = (png, jpeg, gif, gif_frame, bmp, tiff, webp, ppm)


def text_bomb(kind: bytes, head: bytes) -> bytes:
    """A PNG whose text or profile of 128 MB is a few hundred kilobytes of zlib."""
    data = saved("PNG")
    body = head + ZEROS
    return bytes(data[:33]) + chunk(kind, body) + bytes(data[33:])


def pixel_bomb() -> bytes:
    """A PNG of 8 x 8 pixels whose compressed pixels unfold to 128 MB."""
    data = saved("PNG")
    return bytes(data[:33]) + chunk(b"IDAT", ZEROS) + chunk(b"IEND", b"")


@pytest.mark.parametrize("make", HEADERS, ids=lambda make: make.__name__)
def test_the_size_that_a_header_promises_is_checked_first(tmp_path, make):
    path = tmp_path / "huge"
    path.write_bytes(make(SIDE))
    for read in (check_image, lambda p, **o: decode_image(p, image_size=8, **o)):
        with pytest.raises(BadImageError, match="9000 x 9000 pixels are more than max_pixels"):
            read(path, max_pixels=10**6)


@pytest.mark.parametrize("make", HEADERS, ids=lambda make: make.__name__)
def test_pillows_own_limit_is_the_default(tmp_path, make):
    path = tmp_path / "huge"
    path.write_bytes(make(16_000 if make is webp else 60_000))
    with pytest.raises(BadImageError, match="decompression bomb|more than max_pixels"):
        check_image(path)
    with pytest.raises(BadImageError, match="decompression bomb|more than max_pixels|no known|not"):
        decode_image(path, image_size=8, max_pixels=10**12)


def test_nothing_is_unfolded_into_memory(tmp_path):
    """Peak memory of a process that meets all of them, each of 128 MB or more if decoded."""
    for make in HEADERS:
        (tmp_path / make.__name__).write_bytes(make(SIDE))
    (tmp_path / "ztxt").write_bytes(text_bomb(b"zTXt", b"Comment\0\0"))
    (tmp_path / "iccp").write_bytes(text_bomb(b"iCCP", b"profile\0\0"))
    (tmp_path / "pixels").write_bytes(pixel_bomb())
    code = f"""
import json
from pathlib import Path
from clip_sae.datasets.images import BadImageError, check_image, decode_image

def peak():  # of this process alone: getrusage would report what its parent had used
    lines = Path("/proc/self/status").read_text().splitlines()
    [line] = [line for line in lines if line.startswith("VmHWM")]
    return int(line.split()[1]) // 1024

grown = {{}}
for path in sorted(Path({str(tmp_path)!r}).iterdir()):
    before = peak()
    for read in (check_image, lambda p, **o: decode_image(p, image_size=8, **o)):
        try:
            read(path, max_pixels=10**6)
        except BadImageError:
            pass
    grown[path.name] = peak() - before
print(json.dumps(grown))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
    grown = json.loads(done.stdout)
    assert len(grown) == len(HEADERS) + 3
    assert max(grown.values()) < 80, grown  # MB


@pytest.mark.parametrize("make", [png, gif_frame, bmp, tiff, webp, ppm], ids=lambda m: m.__name__)
def test_a_header_that_promises_more_than_the_file_holds(tmp_path, make):
    """Not GIF's screen, which may be larger than its frame, nor JPEG, whose decoder fills up what
    an otherwise whole file lacks."""
    path = tmp_path / "cut"
    path.write_bytes(make(600))
    for read in (check_image, lambda p: decode_image(p, image_size=8)):
        with pytest.raises(BadImageError, match="cannot be decoded"):
            read(path)
