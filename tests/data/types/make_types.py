# SPDX-License-Identifier: MIT
"""Writes NAME.bin for each quantised type: BLOCKS random blocks, then their values as float32.

An independent reading of the layouts (the GGUF specification's, and gguf-py's quants.py), in plain
Python: products of two floats are exact in double and rounded once. Run in this folder:
python3 make_types.py
"""
import random
import struct

BLOCKS = 3


def f32(x):
    return struct.unpack('<f', struct.pack('<f', x))[0]


def half(b):
    return struct.unpack('<e', b)[0]


def nibbles(qs):
    return [b & 15 for b in qs] + [b >> 4 for b in qs]


def fifth(qh, i):
    return struct.unpack('<I', qh)[0] >> i & 1


def q8_0(b):
    return [f32(half(b[:2]) * q) for q in struct.unpack('<32b', b[2:])]


def q4_0(b):
    return [f32(half(b[:2]) * (q - 8)) for q in nibbles(b[2:])]


def q4_1(b):
    return [f32(f32(half(b[:2]) * q) + half(b[2:4])) for q in nibbles(b[4:])]


def q5_0(b):
    return [f32(half(b[:2]) * ((q | fifth(b[2:6], i) << 4) - 16)) for i, q in enumerate(nibbles(b[6:]))]


def q5_1(b):
    return [f32(f32(half(b[:2]) * (q | fifth(b[4:8], i) << 4)) + half(b[2:4]))
            for i, q in enumerate(nibbles(b[8:]))]


def q4_K(b):
    d, dmin, s, qs = half(b[:2]), half(b[2:4]), b[4:16], b[16:]
    scales = [s[i] & 63 for i in range(4)] + [(s[8 + i] & 15) | (s[i] >> 6 << 4) for i in range(4)]
    mins = [s[4 + i] & 63 for i in range(4)] + [(s[8 + i] >> 4) | (s[4 + i] >> 6 << 4) for i in range(4)]
    out = []
    for i in range(256):
        group, column = i // 32, i % 32
        q = qs[group // 2 * 32 + column] >> (4 * (group % 2)) & 15
        out.append(f32(f32(f32(d * scales[group]) * q) - f32(dmin * mins[group])))
    return out


def q6_K(b):
    ql, qh, scales, d = b[:128], b[128:192], struct.unpack('<16b', b[192:208]), half(b[208:])
    out = []
    for i in range(256):
        n, j = divmod(i, 128)
        low = ql[64 * n + j % 64] >> (4 * (j // 64)) & 15
        high = qh[32 * n + j % 32] >> (2 * (j // 32)) & 3
        out.append(f32(f32(d * scales[i // 16]) * ((low | high << 4) - 32)))
    return out


def main():
    random.seed(5)
    sizes = {q8_0: 34, q4_0: 18, q4_1: 20, q5_0: 22, q5_1: 24, q4_K: 144, q6_K: 210}
    for decode, size in sizes.items():
        blocks, values = b'', []
        for _ in range(BLOCKS):
            b = bytearray(random.randbytes(size))
            halves = {q4_1: (0, 2), q5_1: (0, 2), q4_K: (0, 2), q6_K: (208,)}.get(decode, (0,))
            for at in halves:
                b[at:at + 2] = struct.pack('<e', random.uniform(-2, 2))
            blocks += bytes(b)
            values += decode(bytes(b))
        with open(decode.__name__ + '.bin', 'wb') as f:
            f.write(blocks + struct.pack('<%df' % len(values), *values))


main()
