#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Compares two GGUF files tensor by tensor: the same names, shapes, types and bytes, in any order.

    same_tensors.py ONE.gguf OTHER.gguf        one line; exit status 1 if something differs
"""
import math
import mmap
import struct
import sys

# ggml_type: values a block, bytes a block.
BLOCKS = {0: (1, 4), 1: (1, 2), 30: (1, 2), 2: (32, 18), 3: (32, 20), 6: (32, 22), 7: (32, 24), 8: (32, 34), 10: (256, 84),
          11: (256, 110), 12: (256, 144), 13: (256, 176), 14: (256, 210), 20: (32, 18), 23: (256, 136), 39: (32, 17)}
# Types of values in the metadata; 8 is a text, 9 an array.
NUMBERS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}


class Reader:
    def __init__(self, path):
        with open(path, "rb") as file:
            self.bytes = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        self.at = 0

    def take(self, form):
        value, = struct.unpack_from("<" + form, self.bytes, self.at)
        self.at += struct.calcsize("<" + form)
        return value

    def text(self):
        length = self.take("Q")
        self.at += length
        return self.bytes[self.at - length:self.at].decode()

    def value(self, kind):
        if kind == 8:
            return self.text()
        if kind != 9:
            return self.take(NUMBERS[kind])
        kind, count = self.take("I"), self.take("Q")
        return [self.value(kind) for _ in range(count)]


def tensors(path):
    """Name -> (type, shape, bytes)."""
    r = Reader(path)
    assert r.bytes[:4] == b"GGUF", path
    r.at = 8
    n_tensors, n_values = r.take("Q"), r.take("Q")
    keys = {}
    for _ in range(n_values):
        key = r.text()
        keys[key] = r.value(r.take("I"))
    heads = []
    for _ in range(n_tensors):
        name = r.text()
        shape = [r.take("Q") for _ in range(r.take("I"))]
        heads.append((name, shape, r.take("I"), r.take("Q")))
    alignment = keys.get("general.alignment", 32)
    begin = (r.at + alignment - 1) // alignment * alignment
    out = {}
    for name, shape, kind, offset in heads:
        block, size = BLOCKS[kind]
        length = math.prod(shape) // block * size
        out[name] = kind, shape, r.bytes[begin + offset:begin + offset + length]
    return out


def main(one, other):
    a, b = tensors(one), tensors(other)
    differ = [name for name in a.keys() | b.keys() if a.get(name) != b.get(name)]
    print(f"{len(a)} tensors, " + (f"{len(differ)} differ: {sorted(differ)[:3]}" if differ else "all the same bytes"))
    sys.exit(bool(differ))


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    main(*sys.argv[1:])
