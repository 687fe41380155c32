#!/usr/bin/env python3
"""Verifies an exported audit log with Python's standard library alone, without the application or its database.

    python3 verify_audit.py EXPORT.jsonl [--checkpoints checkpoints.jsonl --key BASE64_PUBLIC_KEY]

Exit 0: intact. 1: altered, with the first bad entry. 2: the file cannot be judged (unreadable, empty, lines missing at
its end according to its own last line). The application uses the same functions, so there is one definition of a hash:

    SHA-256("rlmweb/audit/v1\\n" || chain (16 bytes) || seq (8) || recorded_us (8) || prev_hash (32) || body)

with numbers big-endian, `recorded_us` microseconds since 1970 and `body` the RFC 8785 text of the entry, as stored.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import json
import sys
import uuid
from collections.abc import Iterable, Iterator
from typing import Any

DOMAIN = b"rlmweb/audit/v1\n"
GENESIS = bytes(32)
"""What stands before the first entry of a chain."""


class Unreadable(ValueError):
    """The file is not an exported audit log."""


class Altered(Exception):
    """An entry is not what was written; `seq` is the first bad one."""

    def __init__(self, seq: int, why: str) -> None:
        super().__init__(why)
        self.seq = seq
        self.why = why


def entry_hash(chain: bytes, seq: int, recorded_us: int, prev_hash: bytes, body: bytes) -> bytes:
    """`chain`: the 16 bytes of the owner's uuid."""
    head = chain + seq.to_bytes(8, "big") + recorded_us.to_bytes(8, "big", signed=True)
    return hashlib.sha256(DOMAIN + head + prev_hash + body).digest()


# Merkle trees of RFC 6962, section 2.1: what sealed read events are proved with.


def leaf_hash(leaf: bytes) -> bytes:
    return hashlib.sha256(b"\x00" + leaf).digest()


def merkle_root(hashes: list[bytes]) -> bytes:
    """Of leaf hashes, in their order."""
    if not hashes:
        return hashlib.sha256(b"").digest()
    if len(hashes) == 1:
        return hashes[0]
    cut = _cut(len(hashes))
    return hashlib.sha256(b"\x01" + merkle_root(hashes[:cut]) + merkle_root(hashes[cut:])).digest()


def inclusion_proof(hashes: list[bytes], index: int) -> list[bytes]:
    """What has to be hashed with leaf `index` to reach the root, from the leaf upwards."""
    if len(hashes) <= 1:
        return []
    cut = _cut(len(hashes))
    if index < cut:
        return [*inclusion_proof(hashes[:cut], index), merkle_root(hashes[cut:])]
    return [*inclusion_proof(hashes[cut:], index - cut), merkle_root(hashes[:cut])]


def is_included(leaf: bytes, index: int, size: int, proof: list[bytes], root: bytes) -> bool:
    """RFC 9162, section 2.1.3.2. `leaf` is a leaf hash."""
    if not 0 <= index < size:
        return False
    node, at, last = leaf, index, size - 1
    for sibling in proof:
        if last == 0:
            return False
        if at & 1 or at == last:
            node = hashlib.sha256(b"\x01" + sibling + node).digest()
            while not at & 1 and at:
                at, last = at >> 1, last >> 1
        else:
            node = hashlib.sha256(b"\x01" + node + sibling).digest()
        at, last = at >> 1, last >> 1
    return last == 0 and node == root


def _cut(size: int) -> int:
    """The largest power of two below `size`."""
    return 1 << (size - 1).bit_length() - 1


# Ed25519 of RFC 8032, verification only: slow and enough for a few thousand checkpoints.

_P = 2**255 - 19
_Q = 2**252 + 27742317777372353535851937790883648493
_D = -121665 * pow(121666, _P - 2, _P) % _P
_ROOT = pow(2, (_P - 1) // 4, _P)
_Point = tuple[int, int, int, int]


def _add(a: _Point, b: _Point) -> _Point:
    left, right = (a[1] - a[0]) * (b[1] - b[0]) % _P, (a[1] + a[0]) * (b[1] + b[0]) % _P
    c, d = 2 * a[3] * b[3] * _D % _P, 2 * a[2] * b[2] % _P
    e, f, g, h = right - left, d - c, d + c, right + left
    return e * f % _P, g * h % _P, f * g % _P, e * h % _P


def _times(number: int, point: _Point) -> _Point:
    found: _Point = (0, 1, 1, 0)
    while number:
        if number & 1:
            found = _add(found, point)
        point = _add(point, point)
        number >>= 1
    return found


def _x_of(y: int, sign: int) -> int | None:
    if y >= _P:
        return None
    square = (y * y - 1) * pow(_D * y * y + 1, _P - 2, _P)
    if square % _P == 0:
        return None if sign else 0
    x = pow(square, (_P + 3) // 8, _P)
    if (x * x - square) % _P:
        x = x * _ROOT % _P
    if (x * x - square) % _P:
        return None
    return _P - x if x & 1 != sign else x


def _point(raw: bytes) -> _Point | None:
    number = int.from_bytes(raw, "little")
    y = number & ((1 << 255) - 1)
    x = _x_of(y, number >> 255)
    return None if x is None else (x, y, 1, x * y % _P)


_Y = 4 * pow(5, _P - 2, _P) % _P
_X = _x_of(_Y, 0) or 0
_BASE: _Point = (_X, _Y, 1, _X * _Y % _P)


def is_signed(public: bytes, message: bytes, signature: bytes) -> bool:
    if len(public) != 32 or len(signature) != 64:
        return False
    key, nonce, s = _point(public), _point(signature[:32]), int.from_bytes(signature[32:], "little")
    if key is None or nonce is None or s >= _Q:
        return False
    challenge = int.from_bytes(hashlib.sha512(signature[:32] + public + message).digest(), "little") % _Q
    a, b = _times(s, _BASE), _add(nonce, _times(challenge, key))
    return (a[0] * b[2] - b[0] * a[2]) % _P == 0 and (a[1] * b[2] - b[1] * a[2]) % _P == 0


# Checkpoints: notes as C2SP signed-note and tlog-checkpoint describe them.


def read_checkpoint(note: str, public: bytes) -> tuple[uuid.UUID, int, bytes]:
    """Chain, size and the hash of its last entry. Raises `Unreadable` when the note is not signed by `public`."""
    text, _, signatures = note.partition("\n\n")
    text += "\n"
    lines = text.split("\n")
    try:
        origin, size, root = lines[0], int(lines[1]), base64.b64decode(lines[2], validate=True)
        chain = uuid.UUID(origin.rpartition("/")[2])
        for line in signatures.splitlines():
            mark, name, packed = line.split(" ")
            raw = base64.b64decode(packed, validate=True)
            if mark == "—" and raw[:4] == key_id(name, public) and is_signed(public, text.encode(), raw[4:]):
                return chain, size, root
    except (ValueError, IndexError) as error:
        raise Unreadable("a checkpoint is malformed") from error
    raise Unreadable("a checkpoint is not signed by this key")


def key_id(name: str, public: bytes) -> bytes:
    return hashlib.sha256(name.encode() + b"\n\x01" + public).digest()[:4]


# The exported log.


def entries(lines: Iterable[str]) -> Iterator[dict[str, Any]]:
    for number, line in enumerate(lines, start=1):
        try:
            row = json.loads(line)
            if not isinstance(row, dict):
                raise ValueError("no object")
        except ValueError as error:
            raise Unreadable(f"line {number} is not JSON") from error
        yield row


def check_export(lines: Iterable[str], anchors: dict[tuple[uuid.UUID, int], bytes]) -> dict[str, int]:
    """Entries by chain. Raises `Altered` or `Unreadable`. `anchors`: what signed checkpoints say of a chain's hashes.

    A whole export ends with a line that says how many entries it holds, so that a cut file is seen even without anchors.
    A first entry that is not number 1 is believed, and has to be tied to a checkpoint by whoever wants to know.
    """
    last: dict[uuid.UUID, tuple[int, bytes]] = {}
    count, end = 0, None
    counts: dict[str, int] = {}
    for row in entries(lines):
        if "end" in row:
            end = row["end"]
            continue
        try:
            chain, seq = uuid.UUID(row["chain"]), int(row["seq"])
            prev, stated, body = bytes.fromhex(row["prev_hash"]), bytes.fromhex(row["hash"]), row["body"].encode()
            recorded_us = int(row["recorded_us"])
        except (KeyError, ValueError, TypeError, AttributeError) as error:
            raise Unreadable(f"entry {count + 1} lacks a field or has a malformed one") from error
        if end is not None:
            raise Altered(seq, "stands after the end of the export")
        if chain in last and seq != last[chain][0] + 1:
            raise Altered(last[chain][0] + 1, f"entry {seq} stands where {last[chain][0] + 1} belongs")
        if prev != (last[chain][1] if chain in last else (GENESIS if seq == 1 else prev)):
            raise Altered(seq, "does not follow from the entry before it")
        if entry_hash(chain.bytes, seq, recorded_us, prev, body) != stated:
            raise Altered(seq, "is not what its hash was made of")
        if anchors.get((chain, seq), stated) != stated:
            raise Altered(seq, "differs from its signed checkpoint")
        last[chain] = (seq, stated)
        counts[str(chain)] = counts.get(str(chain), 0) + 1
        count += 1
    if end is None or not count:
        raise Unreadable("the export is empty or cut off: its last line is missing")
    if end != count:
        raise Altered(max(seq for seq, _ in last.values()) + 1, f"{count} entries where {end} were exported")
    for (chain, size), _ in anchors.items():
        if chain in last and size > last[chain][0]:
            raise Altered(last[chain][0] + 1, f"a signed checkpoint knows {size} entries")
    return counts


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Verify an exported audit log.")
    parser.add_argument("export")
    parser.add_argument("--checkpoints", help="checkpoints.jsonl of the installation, kept elsewhere")
    parser.add_argument("--key", help="public key of the checkpoints, base64")
    given = parser.parse_args(arguments)
    say = sys.stdout.write
    try:
        anchors: dict[tuple[uuid.UUID, int], bytes] = {}
        if given.checkpoints:
            public = base64.b64decode(given.key or "")
            with open(given.checkpoints, encoding="utf-8") as file:
                for row in entries(file):
                    chain, size, root = read_checkpoint(str(row.get("note")), public)
                    anchors[chain, size] = root
        with open(given.export, encoding="utf-8") as file:
            counts = check_export(file, anchors)
    except Altered as found:
        say(f"ALTERED at entry {found.seq}: {found.why}\n")
        return 1
    except (Unreadable, OSError, ValueError) as error:
        say(f"CANNOT BE JUDGED: {error}\n")
        return 2
    for name, number in counts.items():
        say(f"intact: {number} entries of chain {name}\n")
    say(f"checkpoints compared: {len(anchors)}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
