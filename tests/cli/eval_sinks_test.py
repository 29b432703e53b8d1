# SPDX-License-Identifier: MIT
"""rill eval sinks: what is tried and recommended, and what rill run makes of it."""
import json
import os
import signal
import time

from support import DATA, Terminal, Test, main, rill, start

TEXT = os.path.join(DATA, "cli", "text.txt")
SHORT = ["eval", "sinks", "-f", TEXT, "--tokens", "140", "--capacity", "40", "--observe", "100",
         "--sinks", "0,1,4"]


class Sinks(Test):
    def setUp(self):
        super().setUp()
        self.environment = {**os.environ, "XDG_CACHE_HOME": self.folder}

    def rows(self, *args):
        out, err = rill(*SHORT, "--json", *args, env=self.environment)
        self.assertEqual(err, "")
        return [json.loads(line) for line in out.splitlines()]

    def part(self, rows, part):
        return [row for row in rows if row.get("part") == part]

    def run_auto(self, *args):
        return rill("run", "--sinks", "auto", "-n", "2", "-p", "Once", *args, env=self.environment)

    def test_attention(self):
        found = self.rows()
        self.assertEqual({row["model"] for row in found}, {"rill-30m"})
        positions = self.part(found, "positions")
        self.assertEqual([row["position"] for row in positions[:16]], [str(i) for i in range(16)])
        # The shipped model reads a begin token first, and leans on it.
        self.assertEqual(positions[0]["text"], '"<|bos|>"')
        self.assertGreater(positions[0]["sink_heads"], 0.2)
        self.assertEqual(max(row["attention"] for row in positions[:16]), positions[0]["attention"])
        heads = self.part(found, "heads")
        layers = 1 + max(row["layer"] for row in heads)
        first = [row["attention"] for row in heads if row["position"] == "0"]
        self.assertEqual(len(first) % layers, 0)
        self.assertAlmostEqual(sum(first) / len(first), positions[0]["attention"])
        self.assertAlmostEqual(sum(mean > 0.3 for mean in first) / len(first),
                               positions[0]["sink_heads"])
        self.assertAlmostEqual(max(first), positions[0]["most"])

    def test_what_the_table_says_of_attention(self):
        out = rill(*SHORT, env=self.environment)[0].decode()
        self.assertRegex(out, r"attention +heads above +in layer")
        self.assertRegex(out, r"mean +0\.3 +of a head")
        self.assertIn("all tokens that see it, itself among them", out)
        self.assertIn("more than 0.3 in this mean", out)

    def test_recommendation(self):
        err = self.run_auto()[1]
        self.assertIn("sinks: 4: nothing was measured", err)
        self.assertIn("rill eval sinks", err)
        counts = self.part(self.rows(), None)
        self.assertEqual([(row["sinks"], row["window"]) for row in counts],
                         [(0, 40), (1, 39), (4, 36)])
        best = min(row["perplexity"] for row in counts)
        enough = [row["sinks"] for row in counts if row["perplexity"] <= best * 1.005]
        chosen, = [row["sinks"] for row in counts if row["recommended"] is True]
        self.assertEqual([row["recommended"] for row in counts].count(False), 2)
        self.assertEqual(chosen, min(enough))
        for row in counts:
            self.assertAlmostEqual(row["above_best"], row["perplexity"] / best - 1)
        out, err = self.run_auto()
        self.assertIn(f"sinks: {chosen}, as measured for this model", err)
        self.assertEqual(self.run_auto("--json")[1], "")
        # It is used, not only said.
        lines = rill("run", "--sinks", "auto", "-n", "2", "-p", "Once", "--json",
                     env=self.environment)[0].splitlines()
        self.assertEqual(json.loads(lines[-1])["sinks"], chosen)

    def test_another_model_has_its_own(self):
        self.rows()
        folder = os.path.join(self.folder, "rill", "sinks")
        name, = os.listdir(folder)
        with open(os.path.join(folder, name)) as file:
            kept = json.load(file)
        for change in ({"parameters": 1}, {"sinks": -1}, {"sinks": "4"}, {"model": "another"}):
            with open(os.path.join(folder, name), "w") as file:
                json.dump({**kept, **change}, file)
            self.assertIn("nothing was measured", self.run_auto()[1], change)
        with open(os.path.join(folder, name), "w") as file:
            json.dump({**kept, "sinks": 7}, file)
        self.assertIn("sinks: 7, as measured", self.run_auto()[1])

    def test_choices(self):
        found = self.rows()
        counts = {row["sinks"]: row["perplexity"] for row in self.part(found, None)}
        choices = {row["choice"]: row for row in self.part(found, "choices")}
        self.assertEqual(choices["the first 4 tokens"]["perplexity"], counts[4])
        self.assertEqual(choices["the first token"]["perplexity"], counts[1])
        for words in ("no begin token", "newlines", "of the middle", "most attention"):
            self.assertTrue(any(words in choice for choice in choices), words)
        without = next(row for choice, row in choices.items() if "no begin" in choice)
        self.assertGreater(without["perplexity"], counts[4])
        none = self.part(self.rows("--observe", "0"), "choices")
        self.assertFalse(any("attention" in row["choice"] for row in none))

    def test_within_a_memory(self):
        limit = 200 << 10
        found = self.part(self.rows("--memory", "200K", "--cache-type", "f16,q8_0"), "memory")
        self.assertEqual({row["cache_type"] for row in found}, {"f16", "q8_0"})
        for row in found:
            self.assertLessEqual(row["cache_bytes"], limit)
        self.assertGreater(max(row["cache_bytes"] for row in found), limit * 0.9)
        best = min(found, key=lambda row: row["perplexity"])
        self.assertEqual([row for row in found if row["recommended"]], [best])
        self.assertEqual({row["sinks"] for row in found if row["cache_type"] == best["cache_type"]},
                         {0, 1, 4})

    def test_what_is_done_is_not_measured_again(self):
        journal = self.path("journal")
        first = self.rows("--resume", journal)
        before = {name: os.stat(os.path.join(journal, name)).st_mtime_ns
                  for name in os.listdir(journal)}
        self.assertGreater(len(before), 4)
        self.assertEqual(self.rows("--resume", journal), first)
        after = {name: os.stat(os.path.join(journal, name)).st_mtime_ns
                 for name in os.listdir(journal)}
        self.assertEqual(before, after)

    def test_a_type_that_does_not_fit_is_left_out(self):
        # f16 wants 160 KiB for its smallest cache, q8_0 85 KiB.
        found = self.part(self.rows("--memory", "150K"), "memory")
        self.assertEqual({row["cache_type"] for row in found}, {"q8_0"})
        for row in found:
            self.assertLessEqual(row["cache_bytes"], 150 << 10)
        # Nor does a number of sinks: those that fit are tried.
        found = self.part(self.rows("--sinks", "0,400", "--capacity", "500", "--memory", "150K"),
                          "memory")
        self.assertEqual({row["sinks"] for row in found}, {0})

    def test_only_what_has_room_of_what_is_usual(self):
        found = self.rows("--capacity", "9", "--sinks", "4,0,4")
        self.assertEqual([row["sinks"] for row in self.part(found, None)], [4, 0])
        out = rill(*SHORT[:-2], "--capacity", "3", "--json", env=self.environment)[0]
        found = [json.loads(line) for line in out.splitlines()]
        self.assertEqual([row["sinks"] for row in self.part(found, None)], [0, 1, 2])
        self.assertEqual({row["sinks"] for row in self.part(found, "choices")}, {1, 2})

    def test_one_journal_takes_other_questions_too(self):
        journal = self.path("journal")
        args = ["--sinks", "0", "--resume", journal]
        first = self.rows(*args)
        self.rows(*args, "--capacity", "44")
        self.rows(*args, "--observe", "90")
        self.assertEqual(self.rows(*args), first)
        # What is fed in front of the text is a part of what is measured.
        fed = {}
        for name in os.listdir(journal):
            if name.endswith(".case"):
                with open(os.path.join(journal, name)) as file:
                    fed[name] = file.read().splitlines()[-1]
        head, = {fed[name].rsplit(", ", 1)[1] for name in fed if "40_f16_first" in name}
        self.assertRegex(head, r"^after \d+$")
        line, = [fed[name] for name in fed if "4+36_f16_newline_4" in name]
        self.assertRegex(line, r", after (\d+) \1 \1 \1$")
        pairs = [fed[name] for name in fed if "2+38_f16_most_0_" in name]
        self.assertEqual(len(pairs), 2)  # over 90 tokens another one gets most attention
        for pair in pairs:
            self.assertRegex(pair, r", after \d+ \d+$")
        line, = [fed[name] for name in fed if "4+36_f16_no_begin" in name]
        self.assertTrue(line.endswith(", after nothing"), line)

    def test_what_memory_does_not_do_for_is_a_row(self):
        # No machine has room for a cache of a billion tokens; 150 KiB are a trial of their own.
        huge = [*SHORT, "--capacity", "1000000000"]
        out, err = rill(*huge, "--json", "--memory", "150K", env=self.environment)
        self.assertIn("attention is not looked at: out of memory", err)
        found = [json.loads(line) for line in out.splitlines()]
        counts = self.part(found, None)
        self.assertEqual([row["sinks"] for row in counts], [0, 1, 4])
        for row in counts + self.part(found, "choices"):
            self.assertIn("out of memory", row["error"])
            self.assertIsNone(row["perplexity"])
            self.assertIsNone(row["recommended"])
        self.assertTrue(all(row["perplexity"] for row in self.part(found, "memory")))
        self.assertIn("nothing was measured", self.run_auto()[1])
        # Where nothing else was tried the evaluation failed; its rows are there.
        out, err = rill(*huge, "--json", "--observe", "0", status=1, env=self.environment)
        self.assertEqual(len(self.part([json.loads(line) for line in out.splitlines()], None)), 3)
        self.assertIn("rill: out of memory", err)

    def test_an_interrupted_one_shows_what_it_has(self):
        journal = self.path("journal")
        with open(TEXT, "rb") as file:
            text = self.write("long", file.read() * 4)
        args = ["eval", "sinks", "-f", text,
                "--capacity", "40", "--observe", "100", "--sinks", "0,1,4", "--json",
                "--resume", journal]
        process = start(*args, env=self.environment)
        end = time.monotonic() + 60
        while len(self.finished(journal)) < 3 and time.monotonic() < end:
            time.sleep(0.002)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
        self.assertEqual(process.returncode, 130, err)
        found = [json.loads(line) for line in out.splitlines()]
        whole = [json.loads(line) for line in rill(*args, env=self.environment)[0].splitlines()]
        self.assertLess(len(found), len(whole))
        self.assertEqual(self.part(found, "positions"), self.part(whole, "positions"))
        # Two numbers of sinks or more are done, each with the perplexity that it has in the end.
        before, after = self.part(found, None), self.part(whole, None)
        self.assertGreaterEqual(len(before), 2)
        for one, other in zip(before, after):
            self.assertEqual((one["sinks"], one["perplexity"]), (other["sinks"], other["perplexity"]))
        if len(before) < len(after):
            self.assertTrue(all(row["recommended"] is None for row in before))

    def finished(self, journal):
        """The cases that are finished: the flag in the head of their records."""
        names = os.listdir(journal) if os.path.isdir(journal) else []
        found = []
        for name in names:
            if name.endswith(".records"):
                with open(os.path.join(journal, name), "rb") as file:
                    found += [name] if file.read(64)[12:14] == b"\1\0" else []
        return found

    def test_the_bar_says_which_of_how_many(self):
        terminal = Terminal(*SHORT, environment=self.environment)
        terminal.until("(2 of 3)")
        terminal.until("(5 of ")
        self.assertEqual(terminal.end(), 0)

    def test_refused(self):
        self.refused(2, ["--memory", "8M"], *SHORT, "--memory", "8 MB", env=self.environment)
        self.refused(2, ["--file", "too short"], "eval", "sinks", "-f", self.write("a", b"a"),
                     env=self.environment)
        self.refused(2, ["--sinks", "auto"], "run", "--sinks", "automatic")

    def test_refused_before_the_work(self):
        journal = self.path("journal")
        for words, args in (
            (["--sinks", "40 leave no room"], ["--sinks", "40"]),
            (["--sinks", "64 leave no room"], ["--sinks", "0,4,64", "--capacity", "64"]),
            (["--memory", "at least"], ["--memory", "1K"]),
            (["--chunk"], ["--chunk", "1000000"]),
            (["--cache-type", "--memory"], ["--cache-type", "q8_0,f16"]),
        ):
            self.refused(2, words, *SHORT, "--resume", journal, *args, env=self.environment)
            # Nothing was begun.
            self.assertEqual(os.listdir(journal), [], args)


main()
