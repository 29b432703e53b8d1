# SPDX-License-Identifier: MIT
"""rill eval memory: bytes of caches by length, as one can work them out by hand."""
import csv
import json
import shutil
import unittest

from support import Test, main, rill

WRITE_UP = ["eval", "memory", "--shape", "layers=24,hidden=768,heads=12"]


def rows(*args):
    out, err = rill(*args, "--json")
    assert err == "", err
    return [json.loads(line) for line in out.splitlines()]


class Memory(Test):
    def test_the_public_write_up(self):
        # 10,000 tokens: 703 MB in a full cache, 144 MB with 4 + 2,044, 79.5% saved; a MB is 2^20.
        out = rill(*WRITE_UP, "--sinks", "4", "--window", "2044", "--lengths", "10k")[0].decode()
        row = next(line for line in out.splitlines() if "10,000" in line)
        for words in ("703.1 MiB", "144.0 MiB", "79.52%"):
            self.assertIn(words, row)
        self.assertIn("1,048,576 bytes", out)
        self.assertEqual(rill(*WRITE_UP, "--lengths", "10k")[0].decode(), out)  # by default too
        row, = rows(*WRITE_UP, "--lengths", "10k")
        self.assertEqual(row["dense_bytes"], 10000 * 2 * 24 * 768 * 2)
        self.assertEqual(row["streaming_bytes"], 2048 * 2 * 24 * 768 * 2)
        self.assertAlmostEqual(row["saved"], 0.7952)
        self.assertIsNone(row["taken_bytes"])
        self.assertEqual(row["model"], WRITE_UP[-1])

    def test_lengths_from_a_thousand_to_ten_million(self):
        found = rows(*WRITE_UP)
        self.assertEqual([row["tokens"] for row in found], [10**n for n in range(3, 8)])
        self.assertEqual({row["streaming_bytes"] for row in found}, {144 << 20})
        self.assertLess(found[0]["saved"], 0)  # a text shorter than the cache

    def test_a_model_by_types(self):
        args = ["--cache-type", "f16,q8_0/f16", "--sinks", "0,4", "--window", "100,200", "--chunk",
                "16", "--lengths", "500,1M"]
        found = rows("eval", "memory", *args)
        self.assertEqual(len(found), 2 * 2 * 2 * 2)
        for row in found:
            held = row["sinks"] + row["window"]
            self.assertEqual(row["dense_bytes"], row["tokens"] * row["token_bytes"])
            self.assertEqual(row["streaming_bytes"], held * row["token_bytes"])
            self.assertEqual(row["taken_bytes"], (held + 15) * row["token_bytes"])
        facts = json.loads(rill("info", "--cache-type", "q8_0/f16", "--json")[0])
        self.assertEqual({row["model"] for row in found}, {"rill-30m"})
        self.assertEqual(found[-1]["token_bytes"], facts["token_bytes"])

    def test_exact_is_float32(self):
        for of in ([], WRITE_UP[2:]):
            row, = rows("eval", "memory", *of, "--exact", "--lengths", "1k")
            facts = json.loads(rill("info", *of, "--exact", "--json")[0])
            self.assertEqual(row["cache_type"], "f32")
            self.assertEqual(row["token_bytes"], facts["token_bytes"])
            row, = rows("eval", "memory", *of, "--exact", "--cache-type", "q8_0", "--lengths", "1k")
            self.assertEqual(row["cache_type"], "q8_0")

    def test_files(self):
        table = self.path("table.csv")
        found = rows(*WRITE_UP, "--csv", table)
        with open(table, newline="") as file:
            lines = list(csv.DictReader(file))
        self.assertEqual([int(line["dense_bytes"]) for line in lines],
                         [row["dense_bytes"] for row in found])

    @unittest.skipUnless(shutil.which("gnuplot"), "gnuplot is not installed")
    def test_figure(self):
        rill(*WRITE_UP, "--cache-type", "f16,q8_0", "--window", "100,2044", "--figure",
             self.path("f.svg"))
        with open(self.path("f.svg")) as file:
            drawn = file.read()
        # What is kept of all is one curve for each type, whatever the windows.
        self.assertEqual(drawn.count('id="gnuplot_plot_'), 2 + 2 * 2)
        for kind in ("f16", "q8_0"):
            self.assertIn(f">all kept, {kind}<", drawn)
            for window in (100, 2044):
                self.assertIn(f">streaming 4+{window}, {kind}<", drawn)

    def test_refused(self):
        self.refused(2, ["--shape", "given too"], *WRITE_UP, "model.gguf")
        self.refused(2, ["--capacity", "one of the two"], *WRITE_UP, "--capacity", "8", "--window",
                     "4")
        self.refused(2, ["--capacity: 8", "8 sinks"], *WRITE_UP, "--capacity", "8", "--sinks", "8")
        self.refused(2, ["--capacity: 2048", "3000 sinks"], *WRITE_UP, "--sinks", "3000")
        for lengths in ("0", "x", "", "1,,2"):
            self.refused(2, ["--lengths", "1 or more"], *WRITE_UP, "--lengths", lengths)
        self.refused(2, ["--lengths", "2^64"], *WRITE_UP, "--lengths", "18000000000000000000")


main()
