# SPDX-License-Identifier: MIT
"""Writes mixes.txt: the type that llama.cpp's quantizer chooses for each matrix, without an importance matrix.

    python3 make_mixes.py LIBRARY_FOLDER

LIBRARY_FOLDER: node_modules/@node-llama-cpp/linux-x64/bins/linux-x64 of node-llama-cpp 3.22.1 (llama.cpp v0.5.0).
Lines are "model NAME FAMILY hidden ffn layers heads kv_heads head_dim experts tied", and for the last model
"NAME MIX ROLE TYPES" with a letter a layer: 2 to 6 q2_K to q6_K, 8 q8_0, a q4_0, b q5_0, c q5_1, h f16.
"""
import ctypes
import pathlib
import sys

# Name, rill's family, llama.cpp's architecture, hidden, ffn, layers, heads, kv_heads, head_dim, experts, tied.
MODELS = [
    ("llama-7b", "llama", "llama", 4096, 11008, 32, 32, 32, 128, 0, 0),
    ("llama-1b", "llama", "llama", 2048, 5632, 22, 32, 4, 64, 0, 0),
    ("llama-70b", "llama", "llama", 8192, 28672, 80, 64, 8, 128, 0, 0),
    ("mixtral", "llama", "llama", 4096, 14336, 32, 32, 8, 128, 8, 0),
    ("gpt-oss", "gpt_oss", "gpt-oss", 2880, 2880, 24, 64, 8, 64, 32, 0),
    ("qwen2", "qwen2", "qwen2", 1536, 8960, 28, 12, 2, 128, 0, 1),
    ("gemma3", "gemma3", "gemma3", 1152, 6912, 26, 4, 1, 256, 0, 1),
    ("falcon-40b", "falcon", "falcon", 8192, 32768, 60, 128, 8, 64, 0, 0),
    ("falcon-7b", "falcon", "falcon", 4544, 18176, 32, 71, 1, 64, 0, 1),
    ("gpt-neox", "gpt_neox", "gptneox", 1024, 4096, 24, 16, 16, 64, 0, 0),
    ("narrow", "llama", "llama", 80, 224, 5, 5, 5, 16, 0, 0),
]
FUSED = ("falcon", "gptneox")
MIXES = {"q2_K_M": 10, "q3_K_S": 11, "q3_K_M": 12, "q3_K_L": 13, "q4_K_S": 14, "q4_K_M": 15, "q5_K_S": 16, "q5_K_M": 17}
LETTERS = {1: "h", 2: "a", 6: "b", 7: "c", 8: "8", 10: "2", 11: "3", 12: "4", 13: "5", 14: "6"}


class Model(ctypes.Structure):
    """llama_quant_model_desc."""
    _fields_ = [("architecture", ctypes.c_char_p)] + [(name, ctypes.c_uint32) for name in (
        "hidden", "ffn", "layers", "heads", "kv_heads", "experts", "key", "value")]


class Params(ctypes.Structure):
    """llama_model_quantize_params, as the library's default has them."""
    _fields_ = [("all", ctypes.c_uint8 * 264)]


class Memory(ctypes.Structure):
    """ggml_init_params."""
    _fields_ = [("size", ctypes.c_size_t), ("buffer", ctypes.c_void_p), ("no_alloc", ctypes.c_bool)]


def load(folder):
    for name in ("libggml-base*", "libggml-cpu-x64*", "libggml.*", "libllama.*"):
        for path in pathlib.Path(folder).glob(name):
            loaded = ctypes.CDLL(str(path), mode=ctypes.RTLD_GLOBAL)
    return loaded


def tensors_of(model):
    """(role, layer, name, columns, rows) of each matrix."""
    _, _, architecture, hidden, ffn, layers, heads, kv_heads, head_dim, experts, tied = model
    out = [("embedding", 0, "token_embd.weight", hidden, 512)]
    if not tied:
        out.append(("output", 0, "output.weight", hidden, 512))
    ending = "_exps.weight" if experts else ".weight"
    for i in range(layers):
        def put(role, name, columns, rows):
            out.append((role, i, f"blk.{i}.{name}", columns, rows))
        if architecture in FUSED:
            put("qkv", "attn_qkv.weight", hidden, (heads + 2 * kv_heads) * head_dim)
        else:
            put("q", "attn_q.weight", hidden, heads * head_dim)
            put("k", "attn_k.weight", hidden, kv_heads * head_dim)
            put("v", "attn_v.weight", hidden, kv_heads * head_dim)
            put("gate", "ffn_gate" + ending, hidden, ffn)
        put("o", "attn_output.weight", heads * head_dim, hidden)
        put("up", "ffn_up" + ending, hidden, ffn)
        put("down", "ffn_down" + ending, ffn, hidden)
    return out


def main(folder):
    library = load(folder)
    pointer = ctypes.c_void_p
    functions = {
        "llama_model_quantize_default_params": (Params,),
        "_Z31llama_quant_model_from_metadataPK22llama_quant_model_desc": (pointer, pointer),
        "_Z16llama_quant_initPK11llama_modelPK27llama_model_quantize_params": (pointer, pointer, pointer),
        "_Z25llama_quant_compute_typesP19quantize_state_impl11llama_ftypePP11ggml_tensorP9ggml_typem":
            (None, pointer, ctypes.c_int, pointer, pointer, ctypes.c_size_t),
        "ggml_init": (pointer, Memory),
        "ggml_new_tensor_2d": (pointer, pointer, ctypes.c_int, ctypes.c_int64, ctypes.c_int64),
        "ggml_set_name": (pointer, pointer, ctypes.c_char_p),
    }
    for name, (result, *arguments) in functions.items():
        function = getattr(library, name)
        function.restype, function.argtypes = result, arguments
    default, describe, begin, compute, init, new, name_it = (getattr(library, name) for name in functions)
    params = default()
    with open("mixes.txt", "w", encoding="ascii") as file:
        for model in MODELS:
            name, family, architecture, hidden, ffn, layers, heads, kv_heads, head_dim, experts, tied = model
            print("model", name, family, *model[3:], file=file)
            tensors = tensors_of(model)
            context = init(Memory(len(tensors) * 512 + 4096, None, True))
            made = (pointer * len(tensors))()
            for i, (_, _, tensor, columns, rows) in enumerate(tensors):
                made[i] = new(context, 0, columns, rows)
                name_it(made[i], tensor.encode())
            description = Model(architecture.encode(), hidden, ffn, layers, heads, kv_heads, experts, head_dim, head_dim)
            state = begin(describe(ctypes.byref(description)), ctypes.byref(params))
            for mix, number in MIXES.items():
                types = (ctypes.c_int * len(tensors))()
                compute(state, number, made, types, len(tensors))
                roles = {}
                for (role, _, _, _, _), kind in zip(tensors, types):
                    roles[role] = roles.get(role, "") + LETTERS[kind]
                for role, letters in roles.items():
                    print(name, mix, role, letters, file=file)


main(*sys.argv[1:])
