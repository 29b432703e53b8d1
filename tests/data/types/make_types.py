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


def q4_K_parts(head, qs):
    """(scale, minimum, nibble) of each value."""
    d, dmin, s = half(head[:2]), half(head[2:4]), head[4:16]
    scales = [s[i] & 63 for i in range(4)] + [(s[8 + i] & 15) | (s[i] >> 6 << 4) for i in range(4)]
    mins = [s[4 + i] & 63 for i in range(4)] + [(s[8 + i] >> 4) | (s[4 + i] >> 6 << 4) for i in range(4)]
    out = []
    for i in range(256):
        group, column = i // 32, i % 32
        q = qs[group // 2 * 32 + column] >> (4 * (group % 2)) & 15
        out.append((f32(d * scales[group]), f32(dmin * mins[group]), q))
    return out


def q4_K(b):
    return [f32(f32(scale * q) - minimum) for scale, minimum, q in q4_K_parts(b[:16], b[16:])]


def q2_K(b):
    d, dmin = half(b[80:82]), half(b[82:84])
    out = []
    for i in range(256):
        n, j = divmod(i, 128)
        q = b[16 + 32 * n + j % 32] >> (2 * (j // 32)) & 3
        scale, minimum = b[i // 16] & 15, b[i // 16] >> 4
        out.append(f32(f32(f32(d * scale) * q) - f32(dmin * minimum)))
    return out


def q3_K(b):
    """Scales as gguf-py unpacks them: nibbles of the first 8 bytes below, pairs of the last 4 above."""
    mask, qs, packed, d = b[:32], b[32:96], b[96:108], half(b[108:110])
    lows = [packed[i] >> shift & 15 for shift in (0, 4) for i in range(8)]
    highs = [packed[8 + i] >> shift & 3 for shift in (0, 2, 4, 6) for i in range(4)]
    scales = [(low | high << 4) - 32 for low, high in zip(lows, highs)]
    out = []
    for i in range(256):
        n, j = divmod(i, 128)
        third = mask[i % 32] >> (i // 32) & 1
        q = (qs[32 * n + j % 32] >> (2 * (j // 32)) & 3) + 4 * third - 4
        out.append(f32(f32(d * scales[i // 16]) * q))
    return out


def q5_K(b):
    """q4_K with a fifth bit."""
    low = q4_K_parts(b[:16], b[48:])
    out = []
    for i, (scale, minimum, q) in enumerate(low):
        fifth_bit = b[16 + i % 32] >> (i // 32) & 1
        out.append(f32(f32(scale * (q + 16 * fifth_bit)) - minimum))
    return out


LEVELS = [-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113]


def iq4_nl(b):
    return [f32(half(b[:2]) * LEVELS[q]) for q in nibbles(b[2:])]


def iq4_xs(b):
    d, high = half(b[:2]), struct.unpack('<H', b[2:4])[0]
    out = []
    for i in range(8):
        scale = ((b[4 + i // 2] >> (4 * (i % 2)) & 15) | (high >> (2 * i) & 3) << 4) - 32
        out += [f32(f32(d * scale) * LEVELS[q]) for q in nibbles(b[8 + 16 * i:24 + 16 * i])]
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
    sizes = {q8_0: 34, q4_0: 18, q4_1: 20, q5_0: 22, q5_1: 24, q4_K: 144, q6_K: 210,
             q2_K: 84, q3_K: 110, q5_K: 176, iq4_nl: 18, iq4_xs: 136}
    for decode, size in sizes.items():
        blocks, values = b'', []
        for _ in range(BLOCKS):
            b = bytearray(random.randbytes(size))
            halves = {q4_1: (0, 2), q5_1: (0, 2), q4_K: (0, 2), q6_K: (208,),
                      q2_K: (80, 82), q3_K: (108,), q5_K: (0, 2)}.get(decode, (0,))
            for at in halves:
                b[at:at + 2] = struct.pack('<e', random.uniform(-2, 2))
            blocks += bytes(b)
            values += decode(bytes(b))
        with open(decode.__name__ + '.bin', 'wb') as f:
            f.write(blocks + struct.pack('<%df' % len(values), *values))


main()
