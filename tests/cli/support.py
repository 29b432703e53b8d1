# SPDX-License-Identifier: MIT
"""What the tests of the command share: running it, reading what it writes.

Each *_test.py is one subject, a program of its own; RILL names the command, RILL_MODEL the folder of
the shipped model, RILL_TEST_DATA the data of all tests.
"""
import csv
import fcntl
import json
import os
import pty
import select
import shutil
import signal
import struct
import subprocess
import tempfile
import termios
import time
import unittest

RILL = os.environ["RILL"]
DATA = os.environ["RILL_TEST_DATA"]
GOLDEN = os.path.join(DATA, "golden", "llama")  # a model without a tokenizer
SMALL = ["--sinks", "4", "--window", "28"]  # a window that rolls over soon

with open(os.path.join(DATA, "cli", "text.txt"), "rb") as source:
    TEXT = source.read()


def rows(out):
    """The objects of JSON lines."""
    return [json.loads(line) for line in out.splitlines()]


def table(path):
    """The rows of a CSV file."""
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def start(*args, **options):
    """A running command, its three streams pipes unless said otherwise."""
    for stream in ("stdin", "stdout", "stderr"):
        options.setdefault(stream, subprocess.PIPE)
    return subprocess.Popen([RILL, *args], **options)


def rill(*args, stdin=b"", status=0, **options):
    """Runs to the end; (stdout, stderr) as bytes and text. Another exit status is a failure."""
    process = start(*args, **options)
    out, err = process.communicate(stdin, timeout=600)  # sanitizers are slow
    err = err.decode() if err else ""
    if status is not None and process.returncode != status:
        raise AssertionError(f"{args}: status {process.returncode}, wanted {status}: {err}")
    return out, err


def safetensors(path):
    """The tensors of a file: name to (type, shape, bytes)."""
    with open(path, "rb") as file:
        size = struct.unpack("<Q", file.read(8))[0]
        header = json.loads(file.read(size))
        data = file.read()
    return {
        name: (row["dtype"], row["shape"], data[slice(*row["data_offsets"])])
        for name, row in header.items()
        if name != "__metadata__"
    }


class Test(unittest.TestCase):
    """A test with a folder of its own."""

    def setUp(self):
        self.folder = tempfile.mkdtemp()
        self.addCleanup(shutil.rmtree, self.folder)

    def path(self, name):
        return os.path.join(self.folder, name)

    def write(self, name, content):
        with open(self.path(name), "wb") as file:
            file.write(content)
        return self.path(name)

    def claim_window(self, journal, window, claimed):
        """Has a journal say that a window was another: what was done with one that nobody has."""
        for name in os.listdir(journal):
            path = os.path.join(journal, name)
            if name.endswith(".case"):
                with open(path) as file:
                    text = file.read()
                with open(path, "w") as file:
                    file.write(text.replace(f"window {window},", f"window {claimed},"))
            os.rename(path, path.replace(f"+{window}", f"+{claimed}"))

    def refused(self, status, words, *args, **options):
        """The command fails with one line that holds all of the words, and no product."""
        out, err = rill(*args, status=status, **options)
        self.assertEqual(out, b"", args)
        self.assertEqual(err.count("\n"), 1, err)
        self.assertTrue(err.startswith("rill: "), err)
        for word in words:
            self.assertIn(word, err)


class Screen:
    """What stands on a terminal, `file` its other end."""

    def __init__(self, file):
        self.file = file
        self.text = ""

    def until(self, words, seconds=30):
        """Reads until the words appear after what was read before; the text up to them."""
        end = time.monotonic() + seconds
        while words not in self.text:
            if time.monotonic() > end or not self._read(0.2):
                raise AssertionError(f"{words!r} did not appear: {self.text[-500:]!r}")
        before, _, self.text = self.text.partition(words)
        return before

    def _read(self, seconds):
        if select.select([self.file], [], [], seconds)[0]:
            try:
                data = os.read(self.file, 65536)
            except OSError:
                data = b""
            self.text += data.decode(errors="replace")
            return bool(data)
        return True


class Watched(Screen):
    """The command with its product in a pipe, and what it says to people on a terminal."""

    def __init__(self, *args, rows=24, columns=120):
        file, terminal = pty.openpty()
        super().__init__(file)
        fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        self.process = start(*args, stderr=terminal)
        os.close(terminal)

    def until(self, words, seconds=240):  # of measuring under a sanitizer
        try:
            return super().until(words, seconds)
        except AssertionError:
            self.process.kill()
            self.process.communicate()
            raise

    def end(self, signal_number):
        """Sends the signal and waits: (exit status, what it wrote to stdout)."""
        self.process.send_signal(signal_number)
        out = self.process.communicate(timeout=240)[0]
        while self._read(0):
            pass
        os.close(self.file)
        return self.process.returncode, out


class Eval(Test):
    """A measure of rill eval on the text of these tests."""

    def text(self, times=1):
        return self.write("text.txt", TEXT * times)

    def rows(self, measure, *args, **options):
        return rows(rill("eval", measure, "--json", *args, **options)[0])


class Interrupted(Eval):
    """Measurements that a signal ends, and that go on."""

    def interrupted(self, *args, during):
        """The rows of a measurement that was interrupted during this configuration."""
        measuring = Watched("eval", *args)
        measuring.until(during)
        measuring.until("/s ")
        status, out = measuring.end(signal.SIGTERM)
        self.assertEqual(status, 130)
        self.assertIn("the same command goes on from there", measuring.text)
        return rows(out)

    def streams(self, journal):
        return sorted(name for name in os.listdir(journal) if name.endswith(".stream"))

    def numbers(self, out):
        """All but the speed, which is never twice the same."""
        return [{k: v for k, v in row.items() if "second" not in k} for row in rows(out)]


class Terminal(Screen):
    """The command on a terminal of its own."""

    def __init__(self, *args, rows=24, columns=80, environment=None):
        self.process, file = pty.fork()
        if self.process == 0:
            os.environ.update({"TERM": "xterm", **(environment or {})})
            fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
            os.execv(RILL, [RILL, *args])
        super().__init__(file)

    def prompt(self):
        """Waits until the command reads a line, key by key; the text up to the prompt."""
        before = self.until("> ")
        end = time.monotonic() + 10
        while termios.tcgetattr(self.file)[3] & termios.ICANON and time.monotonic() < end:
            time.sleep(0.01)
        return before

    def send(self, text):
        os.write(self.file, text.encode())

    def end(self, seconds=30):
        """Waits until it leaves: its exit status. What it still wrote is in text."""
        end = time.monotonic() + seconds
        while self._read(0.2):
            if time.monotonic() > end:
                os.kill(self.process, signal.SIGKILL)
                break
        _, status = os.waitpid(self.process, 0)
        os.close(self.file)
        return os.waitstatus_to_exitcode(status)


def main():
    unittest.main(verbosity=2)
