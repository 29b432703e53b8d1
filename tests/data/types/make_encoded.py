# SPDX-License-Identifier: MIT
"""Writes encoded.values, VALUES float32, and NAME.encoded for each type: what ggml makes of them.

    python3 make_encoded.py LIBRARY

LIBRARY: libggml-base.so of node-llama-cpp 3.22.1 (llama.cpp v0.5.0), as scripts/interop installs it
in node_modules/@node-llama-cpp/linux-x64/bins/linux-x64. ggml_quantize_chunk without an importance
matrix is what llama.cpp's quantizer calls. Run in this folder.
"""
import ctypes
import random
import struct
import sys

VALUES = 4096
TYPES = {"f16": 1, "q4_0": 2, "q4_1": 3, "q5_0": 6, "q5_1": 7, "q8_0": 8, "q2_K": 10, "q3_K": 11, "q4_K": 12, "q5_K": 13,
         "q6_K": 14, "iq4_nl": 20, "iq4_xs": 23, "bf16": 30, "mxfp4": 39}

# What a super-block holds, by its number: weights as they are found, and what is hard.
KINDS = [
    lambda i: random.gauss(0, 0.02),
    lambda i: random.gauss(0, 1) ** 3,
    lambda i: random.gauss(0, 1) * 2.0 ** random.randint(-9, 9),
    lambda i: random.random() + 0.5,
    lambda i: -random.random() - 0.5,
    lambda i: random.choice([0, 0, 0, random.gauss(0, 1)]) if i // 16 % 3 else 0,
    lambda i: 0.5 if i // 32 % 2 else random.randint(-8, 7),
    lambda i: 100 * random.gauss(0, 1) if i % 32 == 5 else random.gauss(0, 1e-3),
    lambda i: random.gauss(0, 1e-6),
    lambda i: random.gauss(0, 1) * (1e-12 if i // 16 % 2 else 1),
    lambda i: 0,
    lambda i: random.randint(-3, 3) / 4,
    lambda i: random.gauss(0, 1) + 3,
    lambda i: random.gauss(0, 3e3),
    lambda i: (-1) ** i * 0.25,
    lambda i: random.gauss(0, 0.02) * (10 if i % 61 == 0 else 1),
]


def main(path):
    library = ctypes.CDLL(path)
    random.seed(11)
    values = struct.pack("<%df" % VALUES, *(KINDS[i // 256](i) for i in range(VALUES)))
    with open("encoded.values", "wb") as file:
        file.write(values)
    source = ctypes.create_string_buffer(values, len(values))
    for name, number in TYPES.items():
        out = ctypes.create_string_buffer(4 * VALUES)
        chunk = library.ggml_quantize_chunk
        chunk.restype = ctypes.c_size_t
        chunk.argtypes = [ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p] + 3 * [ctypes.c_int64] + [ctypes.c_void_p]
        size = chunk(number, source, out, 0, VALUES // 256, 256, None)
        with open(name + ".encoded", "wb") as file:
            file.write(out.raw[:size])


main(*sys.argv[1:])
