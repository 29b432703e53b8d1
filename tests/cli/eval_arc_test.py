# SPDX-License-Identifier: MIT
"""rill eval arc as a command."""
import csv
import json
import os
import signal

from support import DATA, Test, Watched, main, rill

QUESTIONS = os.path.join(DATA, "eval", "questions.jsonl")


def lines(out):
    return [json.loads(line) for line in out.splitlines()]


def rows_of(path):
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


class Questions(Test):
    def test_table(self):
        out, err = rill("eval", "arc", "-f", QUESTIONS, "--one-by-one")
        text = out.decode()
        self.assertEqual(err, "")
        self.assertIn("questions.jsonl with rill-30m: 12 questions", text)
        self.assertRegex(text, r"one by one +streaming +4 +508 +f16 +12 ")
        self.assertRegex(text, r"in one stream +streaming +4 +508 +f16 +12 .* 25\.00%")

    def test_methods_and_files(self):
        table, figure = self.path("t.csv"), self.path("f.svg")
        rows = lines(rill("eval", "arc", "-f", QUESTIONS, "--attention", "streaming,window",
                          "--capacity", "40", "--queries", "5", "--json", "--csv", table,
                          "--figure", figure)[0])
        self.assertEqual([row["attention"] for row in rows], ["streaming", "window"])
        self.assertEqual([row["window"] for row in rows], [36, 40])
        self.assertEqual([row["questions"] for row in rows], [5, 5])
        self.assertEqual([row["attention"] for row in rows_of(table)], ["streaming", "window"])
        curve = rows_of(self.path("t-curve.csv"))
        self.assertEqual([row["questions"] for row in curve], list("12345" * 2))
        for row, last in zip(rows, curve[4::5]):
            self.assertEqual((float(last["acc"]), float(last["acc_norm"]), int(last["tokens"])),
                             (row["acc"], row["acc_norm"], row["tokens"]))
        with open(figure) as file:
            self.assertIn("<svg", file.read())

    def test_what_is_finished_takes_no_memory(self):
        journal = self.path("j")
        args = ["eval", "arc", "-f", QUESTIONS, "--resume", journal, "--json", "--window"]
        done, = lines(rill(*args, "600")[0])
        self.claim_window(journal, 600, 400000000)
        again, = lines(rill(*args, "400000000")[0])
        self.assertEqual((again["acc"], again["error"]), (done["acc"], None))

    def test_more_configurations_come_later(self):
        args = ["eval", "arc", "-f", QUESTIONS, "--queries", "4", "--one-by-one", "--json",
                "--resume", self.path("j"), "--cache-type"]
        first = lines(rill(*args, "f16")[0])
        both = lines(rill(*args, "f16,q8_0")[0])
        # Whatever else is asked for: to the second, nothing of it is computed again.
        self.assertEqual([(row["acc"], row["seconds"]) for row in both
                          if row["cache_type"] == "f16"],
                         [(row["acc"], row["seconds"]) for row in first])
        self.assertEqual(len(both), 4)
        # That is not in the journal, and no time was taken now.
        for rows, known in ((first, True), (both[:2], False), (both[2:], True)):
            self.assertEqual({row["copying_seconds"] is not None for row in rows}, {known})

    def test_an_interrupted_one_goes_on(self):
        journal = self.path("journal")
        with open(QUESTIONS, "rb") as file:
            text = self.write("many.jsonl", file.read() * 20)
        args = ["eval", "arc", "-f", text, "--queries", "100", "--capacity", "60", "--attention",
                "streaming,window", "--json"]
        measuring = Watched(*args, "--resume", journal)
        measuring.until("streaming 4+56 (1 of 2) [")
        measuring.until("window 0+60 (2 of 2) [")
        measuring.until("questions/s")
        status, out = measuring.end(signal.SIGINT)
        self.assertEqual(status, 130)
        self.assertIn("the same command goes on from there", measuring.text)
        done, cut = lines(out)
        self.assertEqual((done["questions"], done["error"]), (100, None))
        self.assertIn(f"interrupted after {cut['questions']} of 100 ", cut["error"])
        self.assertTrue(os.path.exists(os.path.join(journal, "arc-window-0+60-f16.stream")))
        resumed = lines(rill(*args, "--resume", journal)[0])
        self.assertEqual(resumed[0]["seconds"], done["seconds"])
        # What nobody interrupted comes to the same.
        whole = lines(rill(*args)[0])
        for row in resumed + whole:
            del row["seconds"], row["copying_seconds"]
        self.assertEqual(resumed, whole)

    def test_one_that_does_not_fit_stops_no_other(self):
        args = ["eval", "arc", "-f", QUESTIONS, "--queries", "3", "--one-by-one", "--json",
                "--window"]
        *bad, one, other = lines(rill(*args, "400000000,60")[0])
        for row in bad:
            self.assertIn("memory", row["error"])
            self.assertIsNone(row["acc"])
        self.assertEqual([row["mode"] for row in bad], ["one by one", "in one stream"])
        self.assertEqual([(row["questions"], row["error"]) for row in (one, other)], [(3, None)] * 2)
        rill(*args, "400000000", status=1)

    def test_from_standard_input(self):
        with open(QUESTIONS, "rb") as file:
            text = file.read()
        args = ["eval", "arc", "--queries", "3"]
        row, = lines(rill(*args, "-f", "-", "--json", stdin=text)[0])
        self.assertEqual(row["acc"], lines(rill(*args, "-f", QUESTIONS, "--json")[0])[0]["acc"])
        self.assertIn("standard input with rill-30m: 3 questions",
                      rill(*args, "-f", "-", stdin=text)[0].decode())

    def test_wrong_use(self):
        self.refused(2, ["--file"], "eval", "arc")
        self.refused(1, ["nowhere"], "eval", "arc", "-f", "nowhere")
        bad = self.write("bad.jsonl", b'{"question": "Why?"}\n')
        self.refused(1, ["bad.jsonl:1", "choices"], "eval", "arc", "-f", bad)


if __name__ == "__main__":
    main()
