# SPDX-License-Identifier: MIT
"""rill bench: what it prints of its sweeps, and the other processes that it starts."""
import json
import os
import shlex
import signal
import time
from unittest import main

from support import Test, Watched, rill, rows, start, table

# One round with a small window: what is tested is the form, not the speed.
QUICK = ["--sinks", "4", "--window", "28", "--runs", "1"]
WRITE = [*QUICK, "--tokens", "2"]


def bench(*args, **options):
    return rows(rill("bench", *args, "--json", **options)[0])


def processes():
    """The command lines of all processes, by number."""
    found = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                with open(f"/proc/{name}/cmdline", "rb") as file:
                    found[int(name)] = file.read().replace(b"\0", b" ").decode(errors="replace")
            except OSError:
                pass
    return found


class Sweeps(Test):
    def check(self, row):
        """A row whose figures fit each other."""
        self.assertGreater(row["low"], 0)
        self.assertLessEqual(row["low"], row["tokens_per_second"])
        self.assertLessEqual(row["tokens_per_second"], row["high"])
        by_bytes = row["roof_bytes_per_second"] / row["bytes_per_token"]
        by_flops = row["roof_flops_per_second"] / row["flops_per_token"]
        self.assertEqual(row["limit"], "memory" if by_bytes < by_flops else "arithmetic")
        if row["runs"] == 1:
            roof = min(by_bytes, by_flops)
            self.assertAlmostEqual(row["roof_tokens_per_second"] / roof, 1)
            self.assertAlmostEqual(row["share"] / (row["tokens_per_second"] / roof), 1)

    def test_alone(self):
        found = bench(*QUICK, "--prefill", "8", "--decode", "2")
        self.assertEqual([(row["case"], row["tokens"]) for row in found],
                         [("prefill", 8), ("decode", 2)])
        for row in found:
            self.check(row)
            self.assertEqual((row["model"], row["type"], row["sinks"], row["window"], row["runs"]),
                             ("rill-30m", "q8_0", 4, 28, 1))

    def test_decode(self):
        found = bench("decode", *WRITE, "--threads", "1,2", "--cache-type", "f16,q8_0/f16",
                      "--runs", "2")
        self.assertEqual([(row["threads"], row["cache_type"]) for row in found],
                         [(n, t) for n in (1, 2) for t in ("f16", "q8_0/f16")])
        for row in found:
            self.check(row)
            self.assertEqual((row["case"], row["tokens"], row["runs"]), ("decode", 2, 2))
            self.assertIsNone(row["ratio"])
        # A full cache is read by every token.
        facts = json.loads(rill("info", "--json")[0])
        wide, = bench("decode", *WRITE, "--window", "60")
        self.assertAlmostEqual(wide["bytes_per_token"] - found[0]["bytes_per_token"],
                               32 * facts["token_bytes"], places=3)

    def test_types(self):
        found = bench("decode", *WRITE, "--synthetic", "llama-1b:1", "--type", "q4_0,q8_0,f16")
        self.assertEqual([row["type"] for row in found], ["q4_0", "q8_0", "f16"])
        for row in found:
            self.check(row)
        self.assertEqual([row["products"] for row in found], [2, 2, 1])
        reads = [row["bytes_per_token"] for row in found]
        self.assertEqual(reads, sorted(reads))
        self.assertEqual({row["flops_per_token"] for row in found}, {found[0]["flops_per_token"]})

    def test_products(self):
        exact, = bench("decode", *WRITE, "--exact")
        self.assertEqual((exact["products"], exact["tier"], exact["cache_type"]), (1, "ref", "f32"))

    def test_prefill(self):
        found = bench("prefill", *QUICK, "--tokens", "8,40")
        self.assertEqual([(row["case"], row["tokens"]) for row in found],
                         [("prefill", 8), ("prefill", 40)])
        for row in found:
            self.check(row)
        # A longer text shares the logits of its last token among more.
        self.assertLess(found[1]["bytes_per_token"], found[0]["bytes_per_token"])

    def test_batch(self):
        found = bench("batch", *WRITE, "--streams", "1,3")
        self.assertEqual([row["streams"] for row in found], [1, 3])
        one, three = found
        for row in found:
            self.check(row)
        self.assertAlmostEqual(three["ratio"], three["tokens_per_second"] / one["tokens_per_second"])
        # The weights are shared, each cache is a stream's own.
        facts = json.loads(rill("info", "--json")[0])
        cache = 32 * facts["token_bytes"]
        self.assertAlmostEqual((one["bytes_per_token"] - cache) / 3 + cache, three["bytes_per_token"])

    def test_cache(self):
        found = bench("cache", *WRITE)
        self.assertEqual([row["cache_type"] for row in found], ["f16", "q8_0", "q4_0"])
        self.assertEqual([row["ratio"] is None for row in found], [True, False, False])

    def test_threads(self):
        found = bench("threads", *WRITE, "--prefill", "8", "--threads", "1,2")
        self.assertEqual([(row["threads"], row["case"]) for row in found],
                         [(n, c) for n in (1, 2) for c in ("prefill", "decode")])
        self.assertEqual([row["ratio"] is None for row in found], [True, True, False, False])

    def test_neighbour(self):
        found = bench("neighbour", *WRITE, "--csv", self.path("mark.csv"))
        self.assertEqual([row["busy"] for row in found], [0, 1])
        self.assertIsNone(found[0]["ratio"])
        self.assertGreater(found[1]["ratio"], 0)
        self.assertFalse([line for line in processes().values() if self.folder in line])

    def test_csv(self):
        found = bench("decode", *WRITE, "--csv", self.path("t.csv"), "--cache-type", "f16,q8_0")
        lines = table(self.path("t.csv"))
        self.assertEqual(list(lines[0]), list(found[0]))
        self.assertEqual([float(line["tokens_per_second"]) for line in lines],
                         [row["tokens_per_second"] for row in found])

    def test_for_people(self):
        out = rill("bench", "cache", *WRITE)[0].decode()
        for words in ("tokens/s", "roof", "share", "GB/s", "in turns", "first type of cache"):
            self.assertIn(words, out)

    def test_refused(self):
        self.refused(2, ["--type", "--synthetic"], "bench", "decode", "--type", "q8_0")
        self.refused(2, ["--type", "q9", "with commas"], "bench", "decode", "--type", "q8_0,q9")
        self.refused(2, ["--threads", "'1,x'", "whole numbers"], "bench", "--threads", "1,x")
        self.refused(2, ["--tokens", "wants"], "bench", "prefill", "--tokens", "8,0")
        self.refused(2, ["--tokens", "at most"], "bench", "prefill", "--tokens", "8M")
        self.refused(2, ["--streams", "from 1 to 1024"], "bench", "batch", "--streams", "0")
        self.refused(2, ["--cache-type", "wants"], "bench", "cache", "--cache-type", "f16,f17")
        self.refused(2, ["--csv", "name of a file"], "bench", "decode", "--csv", "-")
        self.refused(2, ["--compare", "no such option"], "bench", "neighbour", "--compare", "true")
        self.refused(1, ["memory", "GiB are free"], "bench", "decode", "--window", "400000000")
        self.refused(2, ["--type", "q4_K_M"], "bench", "decode", "--synthetic", "llama-1b:1",
                     "--type", "q4_K_M")
        self.refused(1, ["no-such-model"], "bench", "no-such-model")


class Compare(Test):
    def compared(self, command, *args):
        return bench("prefill", *QUICK, "--tokens", "8", "--compare", command, *args)

    def test_what_a_command_prints(self):
        for printed, rate in (("12.5", 12.5), ("warm up\n40\n\n", 40),
                              ('{"tokens_per_second": 7}\n{"tokens_per_second": 8.5}', 8.5),
                              ('[\n  {\n    "avg_ts": 33.25,\n    "stddev_ts": 1\n  }\n]', 33.25),
                              ('{"avg_ts": 3, "tokens_per_second": null}', 3)):
            other, ours = self.compared(f"printf %s {shlex.quote(printed)}")
            self.assertEqual((other["case"], other["tokens_per_second"]), ("command", rate))
            self.assertIsNone(other["ratio"])
            self.assertAlmostEqual(ours["ratio"], ours["tokens_per_second"] / rate)

    def test_turns(self):
        log = self.path("log")
        other, _ = self.compared(f"echo x >> {log}; wc -l < {log}", "--runs", "2")
        self.assertEqual((other["low"], other["high"], other["tokens_per_second"]), (1, 2, 1.5))

    def test_refused(self):
        args = ["bench", "prefill", *QUICK, "--tokens", "8", "--compare"]
        self.refused(1, ["--compare", "tokens_per_second", "avg_ts"], *args, "echo fast")
        self.refused(1, ["--compare", "tokens_per_second"], *args, "echo 0")
        self.refused(1, ["--compare", "status 3"], *args, "echo 5; exit 3")
        self.refused(1, ["--compare", "signal 9"], *args, "kill -9 $$")

    def test_interrupt_ends_the_command(self):
        mark = self.path("pid")
        process = start("bench", "prefill", *QUICK, "--tokens", "8", "--compare",
                        f"echo $$ > {mark}.new; mv {mark}.new {mark}; sleep 600; echo 1")
        for _ in range(2400):
            if os.path.exists(mark):
                break
            time.sleep(0.05)
        with open(mark) as file:
            pid = int(file.read())
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=240)
        self.assertEqual((process.returncode, out), (130, b""), err)
        self.assertNotIn(pid, processes())


class CompareRecompute(Test):
    def test_a_pass_over_the_window_for_each_token(self):
        again, ours = bench("decode", *QUICK, "--tokens", "4", "--compare-recompute")
        self.assertEqual((again["case"], ours["case"]), ("recompute", "decode"))
        self.assertIsNone(again["ratio"])
        self.assertAlmostEqual(ours["ratio"],
                               ours["tokens_per_second"] / again["tokens_per_second"])
        # The same window, none of it kept as sinks.
        self.assertEqual((again["sinks"], again["window"]), (0, ours["sinks"] + ours["window"]))
        self.assertGreater(again["flops_per_token"], again["window"] * ours["flops_per_token"] / 4)

    def test_for_decode_alone(self):
        self.refused(2, ["--compare-recompute", "no such option"], "bench", "prefill",
                     "--compare-recompute")


class Interrupted(Test):
    def test_finished_rounds_are_shown(self):
        measuring = Watched("bench", "decode", *WRITE, "--runs", "100", "--json")
        measuring.until(" 1%")
        status, out = measuring.end(signal.SIGINT)
        self.assertEqual(status, 130)
        row, = rows(out)
        self.assertGreaterEqual(row["runs"], 1)
        self.assertLess(row["runs"], 100)

    def test_the_busy_process_ends_with_its_parent(self):
        process = start("bench", "neighbour", *QUICK, "--tokens", "2000", "--csv",
                        self.path("mark.csv"), env={**os.environ, "TMPDIR": self.folder})

        def wait(n):
            for _ in range(2400):
                ours = [pid for pid, line in processes().items() if self.folder in line]
                if len(ours) == n:
                    return
                time.sleep(0.05)
            self.fail(f"{len(ours)} processes, not {n}")

        wait(2)
        process.kill()
        process.communicate()
        wait(0)


main()
