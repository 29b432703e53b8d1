#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Times llama.cpp on a GGUF file as llama-bench does, with node-llama-cpp's library.

    speed.py LIBRARY_FOLDER MODEL.gguf --decode 24 --depth 2048     writing, after so many tokens
    speed.py LIBRARY_FOLDER MODEL.gguf --prefill 512                reading, at depth 0

LIBRARY_FOLDER: node_modules/@node-llama-cpp/linux-x64/bins/linux-x64. The last line is what rill bench --compare reads.
The cache is f16, flash attention as the library decides, random tokens; loading, filling and warming up do not count.
"""
import argparse
import ctypes
import json
import os
import pathlib
import random
import re
import sys
import time

U32, I32, PTR, F32, BOOL = ctypes.c_uint32, ctypes.c_int32, ctypes.c_void_p, ctypes.c_float, ctypes.c_bool
CONTEXT, WARM_UP, LOG_ERROR = 4096, 40, 4


class ModelParams(ctypes.Structure):
    """llama_model_params: all as the library's default has it."""
    _fields_ = [("all", ctypes.c_uint64 * 10)]


class ContextParams(ctypes.Structure):
    """llama_context_params: what is set here; the rest is as the library's default has it."""
    _fields_ = [("n_ctx", U32), ("n_batch", U32), ("n_ubatch", U32), ("n_seq_max", U32), ("n_rs_seq", U32),
                ("n_outputs_max", U32), ("n_outputs_max_per_seq", U32), ("n_threads", I32), ("n_threads_batch", I32),
                ("kinds", I32 * 5), ("rope", F32 * 6), ("yarn_orig_ctx", U32), ("defrag", F32), ("callback", PTR * 2),
                ("type_k", I32), ("type_v", I32), ("abort", PTR * 2), ("flags", BOOL * 8), ("samplers", PTR),
                ("n_samplers", ctypes.c_size_t), ("other", PTR)]


class PoolParams(ctypes.Structure):
    """ggml_threadpool_params."""
    _fields_ = [("all", ctypes.c_uint8 * 528)]


class Batch(ctypes.Structure):
    """llama_batch."""
    _fields_ = [("n_tokens", I32), ("arrays", PTR * 6)]


LOG = ctypes.CFUNCTYPE(None, ctypes.c_int, ctypes.c_char_p, PTR)


@LOG
def log(level, text, _):
    if level == LOG_ERROR:
        sys.stderr.write(text.decode(errors="replace"))


def loaded_library(name):
    with open("/proc/self/maps", encoding="utf-8") as file:
        return re.search(f"/.*/{name}.*", file.read()).group()


class Llama:
    def __init__(self, folder, model, threads, cpu):
        folder = pathlib.Path(folder)
        for name in ("libggml-base*", "libggml.*", "libllama.*"):
            for path in folder.glob(name):
                self.library = ctypes.CDLL(str(path), mode=ctypes.RTLD_GLOBAL)
        library = self.library
        for name, out in (("ggml_backend_load", PTR), ("llama_model_load_from_file", PTR), ("llama_init_from_model", PTR),
                          ("llama_model_default_params", ModelParams), ("llama_context_default_params", ContextParams),
                          ("llama_batch_get_one", Batch), ("llama_get_memory", PTR), ("llama_model_get_vocab", PTR),
                          ("llama_version", ctypes.c_char_p), ("ggml_threadpool_params_default", PoolParams)):
            getattr(library, name).restype = out
        library.llama_log_set(log, None)
        if not cpu:
            library.ggml_backend_load_all_from_path(str(folder).encode())
        elif not library.ggml_backend_load(str(folder / f"libggml-cpu-{cpu}.so").encode()):
            sys.exit(f"--cpu {cpu}: not in {folder}, or not for this processor")
        library.llama_backend_init()
        self.model = PTR(library.llama_model_load_from_file(model.encode(), library.llama_model_default_params()))
        if not self.model:
            sys.exit(f"{model}: llama.cpp cannot load it")
        params = library.llama_context_default_params()
        params.n_ctx, params.n_threads, params.n_threads_batch = CONTEXT, threads, threads
        self.context = PTR(library.llama_init_from_model(self.model, params))
        # Threads that stay, as llama-bench has them; without, llama.cpp starts new ones for every token.
        self.cpu_library = loaded_library("libggml-cpu")
        new_pool = ctypes.CDLL(self.cpu_library).ggml_threadpool_new
        new_pool.restype = PTR
        pool = PTR(new_pool(ctypes.byref(library.ggml_threadpool_params_default(threads))))
        library.llama_attach_threadpool(self.context, pool, None)
        self.words = library.llama_vocab_n_tokens(PTR(library.llama_model_get_vocab(self.model)))

    def decode(self, n):
        """Reads n random tokens at once."""
        tokens = (I32 * n)(*(random.randrange(self.words) for _ in range(n)))
        if self.library.llama_decode(self.context, self.library.llama_batch_get_one(tokens, n)):
            sys.exit("llama_decode failed")
        self.library.llama_synchronize(self.context)

    def clear(self):
        self.library.llama_memory_clear(PTR(self.library.llama_get_memory(self.context)), False)

    def fill(self, depth, path):
        """Reads `depth` tokens, or takes the cache of a run before from a file."""
        count, room = ctypes.c_size_t(), (I32 * CONTEXT)()
        if path and os.path.exists(path):
            if not self.library.llama_state_load_file(self.context, path.encode(), room, CONTEXT, ctypes.byref(count)):
                sys.exit(f"{path}: is of another model")
        else:
            self.decode(depth)
            if path and not self.library.llama_state_save_file(self.context, path.encode(), room, ctypes.c_size_t(depth)):
                sys.exit(f"{path}: cannot be written")

    def loaded(self):
        return f"llama.cpp {self.library.llama_version().decode()}, {pathlib.Path(self.cpu_library).stem}"


def measure(llama, o):
    if o.prefill:
        llama.decode(WARM_UP)
        llama.clear()
        begin = time.perf_counter()
        llama.decode(o.prefill)
        return o.prefill / (time.perf_counter() - begin)
    llama.fill(o.depth, o.state)
    llama.decode(1)
    begin = time.perf_counter()
    for _ in range(o.decode):
        llama.decode(1)
    return o.decode / (time.perf_counter() - begin)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder")
    parser.add_argument("model")
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--decode", type=int)
    what.add_argument("--prefill", type=int)
    parser.add_argument("--depth", type=int, default=2048)
    parser.add_argument("--state", help="keep the filled cache in this file, for the next run")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--cpu", help="haswell, alderlake, icelake, sapphirerapids ...; llama.cpp's choice")
    o = parser.parse_args()
    llama = Llama(o.folder, o.model, o.threads, o.cpu)
    rate = measure(llama, o)
    print(llama.loaded())
    print(json.dumps({"tokens_per_second": round(rate, 3)}))


main()
