# SPDX-License-Identifier: MIT
"""tokenize, logits, info, convert and eval: what they print and write."""
import json
import math
import os
import struct

from support import DATA, GOLDEN, SMALL, Test, main, rill, safetensors

SHIPPED = os.path.join(os.environ["RILL_MODEL"], "rill-30m.gguf")


class Tokenize(Test):
    def test_there_and_back(self):
        for text in ("Hello, world.\n", "  two  spaces\tand a tab", "naïve café – 東京 😀", "a\n\n\nb"):
            ids = rill("tokenize", stdin=text.encode())[0]
            self.assertRegex(ids, rb"^\d+( \d+)*\n$")
            self.assertEqual(rill("tokenize", "--decode", stdin=ids)[0].decode(), text)
            machine = json.loads(rill("tokenize", "--json", stdin=text.encode())[0])
            self.assertEqual(machine["tokens"], [int(i) for i in ids.split()])

    def test_wrong_ids(self):
        self.refused(2, ["wants token ids"], "tokenize", "--decode", stdin=b"1 two 3")
        self.refused(2, ["99999999"], "tokenize", "--decode", stdin=b"99999999")


class Logits(Test):
    def test_a_file_for_others(self):
        args = ["logits", GOLDEN, "--tokens", "1,2,3,4,5,6,7"]
        out, err = rill(*args, "--out", self.path("a.safetensors"), "--exact", "--chunk", "2")
        self.assertEqual((out, err), (b"", ""))
        rill(*args, "--out", self.path("b.safetensors"), "--exact", "--chunk", "7")
        tensors = safetensors(self.path("a.safetensors"))
        self.assertEqual(list(tensors), ["logits"])
        kind, shape, data = tensors["logits"]
        with open(os.path.join(GOLDEN, "config.json")) as file:
            vocabulary = json.load(file)["vocab_size"]
        self.assertEqual((kind, shape), ("F32", [7, vocabulary]))
        self.assertTrue(all(map(math.isfinite, struct.unpack(f"<{7 * vocabulary}f", data))))
        self.assertEqual(tensors, safetensors(self.path("b.safetensors")))

    def test_wrong_tokens(self):
        out = ["--out", self.path("x")]
        self.refused(2, ["not one of this model's"], "logits", GOLDEN, "--tokens", "1,999999", *out)
        self.refused(2, ["wants token ids"], "logits", GOLDEN, "--tokens", "1,x", *out)
        self.refused(2, ["--out"], "logits", GOLDEN, "--tokens", "1")
        self.assertEqual(os.listdir(self.folder), [])


class Info(Test):
    def test_the_shape_of_the_public_write_ups(self):
        args = ["info", "--shape", "layers=24,hidden=768,heads=12", "--sinks", "4", "--window",
                "2044", "--tokens", "10000"]
        out = rill(*args)[0].decode()
        self.assertIn("703.1 MiB for 10,000 tokens", out)
        self.assertIn("144.0 MiB for 4 sinks and a window of 2044", out)
        self.assertIn("79.5% less", out)
        facts = json.loads(rill(*args, "--json")[0])
        self.assertEqual(facts["token_bytes"], 2 * 24 * 768 * 2)
        self.assertEqual(facts["full_bytes"], 10000 * 2 * 24 * 768 * 2)
        self.assertEqual(facts["held_bytes"], 2048 * 2 * 24 * 768 * 2)

    def test_dense_ends(self):
        out = rill("info", "--attention", "dense")[0].decode()
        self.assertRegex(out, r"for 512 tokens; then it is full")
        self.assertNotIn("for ever", out)

    def test_the_shipped_model(self):
        facts = json.loads(rill("info", "--json")[0])
        self.assertEqual(facts["family"], "llama")
        self.assertEqual(facts["recommended_sinks"] + facts["recommended_window"], 512)


class Convert(Test):
    def test_the_same_text_afterwards(self):
        path = self.path("again.gguf")
        out, err = rill("convert", SHIPPED, path, "--type", "q8_0")
        self.assertEqual((out, err), (b"", ""))
        args = ["-p", "The sea", "--temperature", "0", "-n", "40"]
        self.assertEqual(rill("run", path, *args)[0], rill("run", *args)[0])

    def test_a_mix_with_any_threads(self):
        paths = [self.path("one.gguf"), self.path("three.gguf")]
        for path, threads in zip(paths, "13"):
            rill("convert", GOLDEN, path, "--type", "Q4_k_m", "--threads", threads)
        with open(paths[0], "rb") as one, open(paths[1], "rb") as three:
            self.assertEqual(one.read(), three.read())
        self.assertIn("most in q5_0", rill("info", paths[0])[0].decode())  # rows of 64 and 96

    def test_an_unknown_type(self):
        for word in "q9", "q8_0_M", "q4_K_L":
            self.refused(2, [word, "q2_K", "mxfp4", "q5_K_M"], "convert", GOLDEN, self.path("x.gguf"), "--type", word)

    def test_onto_itself(self):
        path = self.write("model.gguf", b"GGUF")
        self.refused(2, ["model.gguf", "itself"], "convert", path, path)
        self.assertEqual(os.path.getsize(path), 4)

    def test_a_directory(self):
        path = self.path("small.gguf")
        rill("convert", GOLDEN, path, "--type", "f32")
        args = ["--tokens", "1,2,3", "--exact"]
        rill("logits", GOLDEN, *args, "--out", self.path("a"))
        rill("logits", path, *args, "--out", self.path("b"))
        self.assertEqual(safetensors(self.path("a")), safetensors(self.path("b")))


class Eval(Test):
    def measure(self, *args):
        text = os.path.join(DATA, "cli", "text.txt")
        out, err = rill("eval", "perplexity", "-f", text, "--tokens", "150", "--json", *args)
        self.assertEqual(err, "")
        return json.loads(out)

    def test_depends_on_nothing_but_what_is_seen(self):
        base = self.measure(*SMALL)
        self.assertEqual((base["eval"], base["tokens"]), ("perplexity", 150))
        self.assertEqual((base["sinks"], base["window"]), (4, 28))
        self.assertAlmostEqual(math.exp(base["mean_nll"]), base["perplexity"], delta=1e-6)
        self.assertLess(base["perplexity"], 500)
        for other in (["--chunk", "1"], ["--chunk", "7"], ["--threads", "1"], ["--threads", "3"]):
            self.assertEqual(self.measure(*SMALL, *other)["mean_nll"], base["mean_nll"], other)
        dense = self.measure("--attention", "dense")
        self.assertLess(dense["mean_nll"], base["mean_nll"])
        recompute = self.measure("--attention", "recompute", "--window", "32")
        self.assertEqual(recompute["attention"], "recompute")

    def test_too_short(self):
        self.refused(2, ["too short"], "eval", "perplexity", stdin=b"")


main()
