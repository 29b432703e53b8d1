#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Quantises a GGUF file with llama.cpp's own llama_model_quantize, from node-llama-cpp's library.

    quantize.py LIBRARY_FOLDER SOURCE.gguf TARGET.gguf TYPE [OUTPUT_TYPE [EMBEDDING_TYPE]]

LIBRARY_FOLDER: node_modules/@node-llama-cpp/linux-x64/bins/linux-x64. TYPE as docs/types.md has it: the name of a
type is every matrix in it (llama.cpp's "pure"), q2_K_M ... q5_K_M are mixes. The other two are for one matrix each.
"""
import ctypes
import pathlib
import sys

# llama.h: llama_ftype; ggml.h: ggml_type.
MIXES = {"q2_K_M": 10, "q3_K_S": 11, "q3_K_M": 12, "q3_K_L": 13, "q4_K_S": 14, "q4_K_M": 15, "q5_K_S": 16, "q5_K_M": 17}
PURE = {"q4_0": 2, "q4_1": 3, "q8_0": 7, "q5_0": 8, "q5_1": 9, "q2_K": 10, "q3_K": 11, "q4_K": 14, "q5_K": 16,
        "q6_K": 18, "iq4_nl": 25, "iq4_xs": 30, "mxfp4": 38}
TENSOR_TYPES = {"q4_0": 2, "q4_1": 3, "q5_0": 6, "q5_1": 7, "q8_0": 8, "q2_K": 10, "q3_K": 11, "q4_K": 12, "q5_K": 13,
                "q6_K": 14, "iq4_nl": 20, "iq4_xs": 23, "mxfp4": 39}


class Params(ctypes.Structure):
    """llama_model_quantize_params: what is set here; the rest is as the library's default has it."""
    _fields_ = [("threads", ctypes.c_int32), ("file_type", ctypes.c_int32),
                ("output_type", ctypes.c_int32), ("embedding_type", ctypes.c_int32),
                ("allow_requantize", ctypes.c_bool), ("quantize_output", ctypes.c_bool),
                ("only_copy", ctypes.c_bool), ("pure", ctypes.c_bool), ("rest", ctypes.c_uint8 * 240)]


def main():
    folder, source, target, kind = sys.argv[1:5]
    library = pathlib.Path(folder)
    for name in ("libggml-base*", "libggml-cpu-x64*", "libggml.*", "libllama.*"):
        for path in library.glob(name):
            loaded = ctypes.CDLL(str(path), mode=ctypes.RTLD_GLOBAL)
    loaded.llama_model_quantize_default_params.restype = Params
    params = loaded.llama_model_quantize_default_params()
    params.threads, params.allow_requantize, params.pure = 2, True, kind in PURE
    params.file_type = PURE[kind] if params.pure else MIXES[kind]
    if len(sys.argv) > 5:
        params.output_type = TENSOR_TYPES[sys.argv[5]]
    if len(sys.argv) > 6:
        params.embedding_type = TENSOR_TYPES[sys.argv[6]]
    status = loaded.llama_model_quantize(source.encode(), target.encode(), ctypes.byref(params))
    sys.exit(status)


main()
