# SPDX-License-Identifier: MIT
"""Models and texts that are not there, not what they seem, or longer than the window."""
import json
import os
import signal
import threading

from support import DATA, GOLDEN, SMALL, Test, main, rill, start


class Models(Test):
    def test_what_is_no_model(self):
        os.mkdir(self.path("empty"))
        shipped = os.path.join(os.environ["RILL_MODEL"], "rill-30m.gguf")
        with open(shipped, "rb") as file:
            head = file.read(1 << 20)
        for words, path in (
            (["No such file"], self.path("absent")),
            (["no model in it"], self.path("empty")),
            (["not a GGUF file"], self.write("text", b"a text\n" * 100)),
            (["nothing.gguf"], self.write("nothing.gguf", b"")),
            (["cut.gguf"], self.write("cut.gguf", head)),
            (["cut.gguf"], self.write("cut.gguf", head[:100])),
            (["not a regular file"], "/dev/null"),
        ):
            for command in (["run", "-n", "1"], ["info"], ["chat"]):
                self.refused(1, words, *command, path)
            self.refused(1, words, "convert", path, self.path("out.gguf"))
            self.assertFalse(os.path.exists(self.path("out.gguf")))

    def test_paths_are_reported_as_they_are(self):
        for folder in ("over_context", "key_type"):
            os.mkdir(self.path(folder))
            path = os.path.join(self.path(folder), "m.gguf")
            self.refused(1, [path], "run", "-n", "1", path)
            self.refused(1, ["rill: " + self.path(folder)], "info", self.path(folder))

    def test_unreadable(self):
        path = self.write("secret.gguf", b"GGUF")
        os.chmod(path, 0)
        os.chmod(self.folder, 0o755)
        somebody = {"user": 65534} if os.geteuid() == 0 else {}  # root reads everything
        try:
            self.refused(1, ["secret.gguf", "Permission denied"], "run", path, **somebody)
            text = ["-n", "1", "-f", path, os.environ["RILL_MODEL"]]
            self.refused(1, ["secret.gguf", "Permission denied"], "run", *text, **somebody)
        except PermissionError:
            self.skipTest("the command itself is in a place for root only")

    def test_a_text_in_the_place_of_a_model(self):
        self.refused(1, ["No such file", "a text goes with -p"], "run", "It was a dark night")
        with open(self.write("book.txt", b"It was a dark night"), "rb") as text:
            process = start("run", "-n", "1", stdin=text)
            err = process.communicate(timeout=60)[1].decode()
        self.assertIn("standard input is not read", err)

    def test_run_needs_a_tokenizer(self):
        self.refused(1, ["no tokenizer"], "run", GOLDEN, "-n", "1")


class Texts(Test):
    def test_what_is_no_text(self):
        self.refused(1, ["No such file"], "run", "-n", "1", "-f", self.path("absent"))
        self.refused(1, ["directory"], "run", "-n", "1", "-f", self.folder)

    def test_longer_than_the_window(self):
        text = b"It rained, and the river rose. " * 60
        path = self.write("long.txt", text)
        args = ["run", "-n", "8", "--temperature", "0", "--json", *SMALL]
        by_file = rill(*args, "-f", path)[0]
        summary = json.loads(by_file.splitlines()[-1])
        self.assertGreater(summary["evicted"], 300)
        self.assertEqual(summary["held"], 32)
        ids = [json.loads(line)["token"] for line in by_file.splitlines()[:-1]]
        for out in (rill(*args, "-", stdin=text)[0], rill(*args, "-f", "-", stdin=text)[0]):
            self.assertEqual([json.loads(line)["token"] for line in out.splitlines()[:-1]], ids)

    def test_endless(self):
        process = start("run", "-", "--json", *SMALL)

        def feed():
            try:
                while True:
                    os.write(process.stdin.fileno(), b"and so it went on, and on, " * 1000)
            except OSError:
                pass

        writer = threading.Thread(target=feed)
        writer.start()
        writer.join(1.5)
        process.send_signal(signal.SIGINT)
        out = process.stdout.read()
        self.assertEqual(process.wait(20), 130)
        writer.join(20)
        for stream in (process.stdin, process.stdout, process.stderr):
            stream.close()
        summary = json.loads(out.splitlines()[-1])
        self.assertEqual(summary["stop"], "interrupted")
        self.assertEqual(summary["held"], 32)

    def test_nothing(self):
        out = rill("run", "-n", "4", "-", stdin=b"")[0]
        self.assertTrue(out)


main()
