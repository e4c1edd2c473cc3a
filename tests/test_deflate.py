"""Streams in the shapes that gzip files come in, by both codecs, against Python's own gzip."""

import gzip
import zlib
from pathlib import Path

import numpy as np
import pytest

from reg2rg import deflate


@pytest.fixture(params=["fastest", "zlib"], autouse=True)
def codec(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param == "zlib":
        monkeypatch.setattr(deflate, "codec", zlib)


def content(size: int) -> bytes:
    return np.random.default_rng(size).integers(0, 9, size, np.uint8).tobytes()


def inflated(path: Path, packed: bytes, start: int, size: int) -> bytes:
    path.write_bytes(packed)
    target = bytearray(size)
    deflate.inflate(path, start, memoryview(target))
    return bytes(target)


@pytest.mark.parametrize("size", [0, 1, 1000, 5 * 2**20 + 3])
def test_what_was_deflated_is_inflated(tmp_path: Path, size: int) -> None:
    whole = content(size)
    packed = b"".join(deflate.deflate(whole[:10], memoryview(whole)[10:]))
    assert gzip.decompress(packed) == whole
    assert inflated(tmp_path / "a.gz", packed, 0, size) == whole
    assert packed == b"".join(deflate.deflate(whole[:10], whole[10:])) and packed[4:8] == bytes(4)


@pytest.mark.parametrize("start", [0, 352, 2**20, 2**20 + 7])
def test_a_part_is_cut_out_whatever_surrounds_it(tmp_path: Path, start: int) -> None:
    whole = content(3 * 2**20)
    for size in (1, 2**20, len(whole) - start):
        assert inflated(tmp_path / "a.gz", gzip.compress(whole, 1), start, size) == whole[start : start + size]


def test_many_streams_in_one_file_and_padding(tmp_path: Path) -> None:
    whole = content(3000)
    packed = b"".join(gzip.compress(whole[i : i + 700]) + bytes(i // 100) for i in range(0, 3000, 700)) + bytes(99)
    assert gzip.decompress(packed) == whole
    assert inflated(tmp_path / "a.gz", packed, 100, 2900) == whole[100:]


def test_strong_compression_stays_within_bounds_of_memory(tmp_path: Path) -> None:
    packed = gzip.compress(bytes(2**26), 9)
    assert inflated(tmp_path / "a.gz", packed, 2**25, 2**25) == bytes(2**25)


def test_damage_is_told(tmp_path: Path) -> None:
    packed = bytearray(gzip.compress(content(9000)))
    for damaged in (packed[:-1], packed[:-9], packed[:500], packed[:5], b"", bytes(packed) + b"more", bytes(2000)):
        with pytest.raises(deflate.ERRORS):
            inflated(tmp_path / "a.gz", bytes(damaged), 0, 9000)
    packed[-6] ^= 1  # of the checksum
    with pytest.raises(deflate.ERRORS):
        inflated(tmp_path / "a.gz", bytes(packed), 0, 9000)
    with pytest.raises(EOFError, match="expected 9001 bytes"):
        inflated(tmp_path / "a.gz", gzip.compress(content(9000)), 0, 9001)
