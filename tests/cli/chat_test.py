# SPDX-License-Identifier: MIT
"""Conversations, on a terminal and in a pipe."""
import json
import os
import signal
import time

from support import Terminal, Test, main, rill

# The tokens that end an answer.
ENDS = [int(rill("tokenize", stdin=text)[0].split()[0]) for text in (b"<|eos|>", b"<|im_end|>")]
SHORT = ["-n", "12", "--temperature", "0"]


class Talks(Test):
    def open(self, *args):
        screen = Terminal("chat", *args, environment={"XDG_STATE_HOME": self.folder})
        screen.until("/help lists commands")
        screen.prompt()
        return screen

    def test_commands(self):
        screen = self.open(*SHORT)
        screen.send("/help\n")
        screen.until("/reset")
        screen.prompt()
        screen.send("Hello\n")
        screen.prompt()
        screen.send("/stats\n")
        screen.until("forgotten  0 tokens")
        screen.send(f"/save {self.path('talk')}\n")
        screen.until("saved to")
        screen.send("/reset\n")
        screen.until("all forgotten")
        screen.send(f"/load {self.path('talk')}\n")
        screen.until("loaded")
        screen.send("/stats\n")
        screen.until("Hello")
        screen.send("/sta\n")
        screen.until("did you mean /stats")
        screen.prompt()
        screen.send("\x04")
        self.assertEqual(screen.end(), 0)

    def test_says_when_something_is_forgotten(self):
        screen = self.open(*SHORT, "--window", "60")
        for i in range(8):
            screen.send(f"This is message number {i} of several\n")
            screen.prompt()
        screen.send("/quit\n")
        self.assertEqual(screen.end(), 0)
        out, err = rill("chat", *SHORT, "--window", "60",
                        stdin=b"This is a message of several\n" * 8)
        self.assertEqual(err.count("no longer sees the beginning"), 1)

    def test_edits_lines(self):
        screen = self.open(*SHORT)
        screen.send("/hxlp\x1b[D\x1b[D\x7fe\n")  # two to the left, rub out x, an e instead
        screen.until("/reset")
        screen.prompt()
        screen.send("\x10\n")  # the line before
        screen.until("/reset")
        screen.prompt()
        screen.send("\x04")
        self.assertEqual(screen.end(), 0)
        self.assertTrue(os.path.exists(self.path("rill/history")))

    def test_an_answer_is_cut_short(self):
        screen = self.open(*(word for end in ENDS for word in ("--logit-bias", f"{end}=-1000")))
        screen.send("Tell me a story\n")
        time.sleep(1)
        screen.send("\x03")
        screen.until("cut short")
        screen.prompt()
        screen.send("\x03")
        screen.until("Ctrl-C again")
        screen.prompt()
        screen.send("\x03")
        self.assertEqual(screen.end(), 130)


    def test_leaving(self):
        screen = self.open(*SHORT)
        screen.send("\x03")
        screen.until("Ctrl-C again")
        screen.prompt()
        screen.send("abc")
        screen.until("abc")
        screen.send("\x03")  # drops the line
        screen.prompt()
        screen.send("/help\n")
        screen.until("/reset")
        screen.prompt()
        os.kill(screen.process, signal.SIGTERM)
        self.assertEqual(screen.end(), 130)


class Scripts(Test):
    def test_one_object_an_answer(self):
        out, err = rill("chat", "--json", *SHORT, "--system", "Be brief.", stdin=b"Hello\n/stats\n")
        self.assertEqual(err, "")
        answer, stats = (json.loads(line) for line in out.splitlines())
        self.assertEqual((answer["event"], stats["event"]), ("answer", "stats"))
        self.assertLessEqual(answer["written"], 12)
        self.assertEqual(stats["evicted"], 0)

    def test_a_full_context_loses_no_answer(self):
        out, err = rill("chat", "--json", "--temperature", "0", "--attention", "dense", "--window",
                        "40", stdin=b"Tell me a story\nHello\n", status=1)
        answer = json.loads(out)
        self.assertEqual(answer["stop"], "memory")
        self.assertTrue(answer["text"])
        self.assertIn("room for 40 tokens", err)

    def test_a_long_question_is_answered(self):
        words = [f"word{i}" for i in range(400)]
        said = set()
        for last in ("Tell me a story", "Hello"):
            text = (" ".join(words) + ". " + last + "\n").encode()
            out, err = rill("chat", "--json", *SHORT, stdin=text)
            self.assertRegex(err, r"this message has \d+ tokens: the model sees the last \d+")
            said.add(json.loads(out)["text"])
        self.assertEqual(len(said), 2)

    def test_load_takes_the_sampling_given(self):
        save = f"/save {self.path('s')}\n".encode()
        rill("chat", *SHORT, stdin=b"Hello\n" + save)
        load = f"/load {self.path('s')}\nTell me a story\n".encode()
        texts = {rill("chat", "-n", "30", "--temperature", t, "--seed", "3", stdin=load)[0]
                 for t in ("0", "5")}
        self.assertEqual(len(texts), 2)

    def test_fails_at_the_end(self):
        out, err = rill("chat", stdin=b"/load nothing\n/fly\n", status=1)
        self.assertEqual(out, b"")
        self.assertEqual(err.count("\n"), 2)


main()
