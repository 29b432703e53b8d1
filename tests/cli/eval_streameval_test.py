# SPDX-License-Identifier: MIT
"""rill eval streameval as a command; other engines over HTTP, played by a small server."""
import csv
import http.server
import json
import os
import re
import signal
import socket
import threading

from support import DATA, Test, Watched, main, rill

QUICK = ["--distance", "0,3", "--queries", "3", "--every", "2", "--sinks", "4", "--window", "76"]
QUESTIONS = os.path.join(DATA, "eval", "questions.jsonl")


def lines(out):
    return [json.loads(line) for line in out.splitlines()]


def text_of(path):
    with open(path) as file:
        return file.read()


def rows_of(path):
    with open(path) as file:
        return list(csv.DictReader(file))


class Server(http.server.BaseHTTPRequestHandler):
    """Answers from the records in the prompt, and 00000 where the one asked for is not among them."""

    protocol_version = "HTTP/1.1"
    seen = []  # requests
    wrong = None  # (status, body) to answer with instead
    failing = 0  # the request that is refused, the first is 1
    after = ">\nline"

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        request = json.loads(body)
        request["path"] = self.path
        request["key"] = self.headers["Authorization"]
        Server.seen.append(request)
        if len(Server.seen) == Server.failing:
            return self.reply(503, b"busy")
        if Server.wrong:
            return self.reply(*Server.wrong)
        asked = re.findall(r"in line (\d+)\?\nAnswer: <$", request["prompt"])[0]
        found = re.findall(rf"line {asked}: REGISTER_CONTENT is <(\d+)>", request["prompt"])
        text = (found[0] if found else "00000") + Server.after
        return self.reply(200, json.dumps({"choices": [{"text": text}]}).encode())

    def reply(self, status, body):
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


class Streams(Test):
    def test_table(self):
        out, err = rill("eval", "streameval", *QUICK)
        text = out.decode()
        self.assertEqual(err, "")
        self.assertRegex(text, r"StreamEval with rill-30m: \d+ records, [\d,]+ tokens")
        self.assertEqual(len(re.findall(r"^streaming +4 +76 +f16 +[03] ", text, re.M)), 2)
        self.assertIn("By how much of the record could be seen", text)

    def test_lines_for_machines(self):
        rows = lines(rill("eval", "streameval", *QUICK, "--json")[0])
        by_distance = [row for row in rows if "part" not in row]
        self.assertEqual([row["distance"] for row in by_distance], [0, 3])
        self.assertEqual([row["questions"] for row in by_distance], [3, 3])
        self.assertEqual(by_distance[0]["in_cache"], 1)
        self.assertEqual(by_distance[1]["out_of_cache"], 1)
        self.assertLess(by_distance[0]["tokens_back"], 76)
        self.assertGreater(by_distance[1]["tokens_back"], 76)
        seen = [row for row in rows if row.get("part") == "by-visibility"]
        self.assertEqual([row["record_in_cache"] for row in seen], ["wholly", "not at all"])

    def test_equal_seeds_equal_text(self):
        paths = [self.path(name) for name in ("a", "b", "c")]
        for path, seed in zip(paths, "778"):
            rill("eval", "streameval", *QUICK[:6], "--seed", seed, "--write", path)
        texts = [text_of(path) for path in paths]
        self.assertEqual(texts[0], texts[1])
        self.assertNotEqual(texts[0], texts[2])

    def test_a_file_asks_the_same(self):
        path = self.path("text.jsonl")
        _, err = rill("eval", "streameval", *QUICK[:6], "--write", path)
        self.assertRegex(err, r"text.jsonl: \d+ records, 6 questions\n$")
        for line in text_of(path).splitlines():
            row = json.loads(line)
            self.assertIn(sorted(row), (["text"], ["answer", "distance", "end", "question"]))
        made = lines(rill("eval", "streameval", *QUICK, "--json")[0])
        read = lines(rill("eval", "streameval", "--read", path, *QUICK[6:], "--json")[0])
        for row in made + read:
            row.pop("seconds", None)
        self.assertEqual(made, read)

    def test_files(self):
        table, figure = self.path("t.csv"), self.path("f.svg")
        rill("eval", "streameval", *QUICK, "--csv", table, "--figure", figure)
        rows = rows_of(table)
        self.assertEqual([row["distance"] for row in rows], ["0", "3"])
        lengths = rows_of(self.path("t-by-length.csv"))
        self.assertEqual(sum(int(row["questions"]) for row in lengths), 6)
        self.assertTrue(os.path.exists(self.path("t-by-visibility.csv")))
        for name in ("f.svg", "f-by-length.svg"):
            self.assertIn("<svg", text_of(self.path(name)))

    def test_one_that_does_not_fit_stops_no_other(self):
        # The first one of all: nothing that comes later may lean on its answers.
        args = ["eval", "streameval", *QUICK[:6], "--window", "400000000,76"]
        for figure in ([], ["--figure", self.path("f.svg")]):
            rows = lines(rill(*args, "--json", *figure)[0])
            bad, *good = [row for row in rows if "part" not in row]
            self.assertEqual((bad["window"], bad["questions"]), (400000000, None))
            self.assertIn("memory", bad["error"])
            self.assertEqual([(row["window"], row["questions"], row["error"]) for row in good],
                             [(76, 3, None)] * 2)
        drawn = text_of(self.path("f.svg"))
        self.assertIn("out of a window of 76", drawn)
        self.assertNotIn("out of a window of 400000000", drawn)
        self.assertIn("4+400000000 did not finish: ", rill(*args)[0].decode())
        # None is left: then that is the result.
        rill(*args[:-1], "400000000", status=1)

    def test_what_is_finished_takes_no_memory(self):
        journal = self.path("journal")
        args = ["eval", "streameval", *QUICK[:6], "--resume", journal, "--json", "--window"]
        done = lines(rill(*args, "76")[0])[0]
        self.claim_window(journal, 76, 400000000)
        again = lines(rill(*args, "400000000")[0])[0]
        self.assertEqual((again["digit_accuracy"], again["error"]), (done["digit_accuracy"], None))

    def test_more_configurations_come_later(self):
        args = ["eval", "streameval", *QUICK, "--json", "--resume", self.path("j"), "--cache-type"]
        first = [row for row in lines(rill(*args, "f16")[0]) if "part" not in row]
        both = [row for row in lines(rill(*args, "f16,q8_0")[0]) if "part" not in row]
        # Whatever else is asked for: seconds and all, nothing of it is computed again.
        self.assertEqual([row for row in both if row["cache_type"] == "f16"], first)
        self.assertEqual(len(both), 2 * len(first))

    def test_an_interrupted_one_goes_on(self):
        journal = self.path("journal")
        args = ["eval", "streameval", "--distance", "0", "--queries", "80", "--every", "2",
                "--sinks", "4", "--window", "76", "--json"]
        case = os.path.join(journal, "streameval-streaming-4+76-f16")
        measuring = Watched(*args, "--resume", journal)
        measuring.until("questions/s")
        status, out = measuring.end(signal.SIGINT)
        self.assertEqual(status, 130)
        self.assertIn("the same command goes on from there", measuring.text)
        answered = lines(out)[0]["questions"]
        self.assertIn(f"interrupted after {answered} of 80 ", lines(out)[0]["error"])
        self.assertGreater(os.path.getsize(case + ".records"), 64)
        self.assertTrue(os.path.exists(case + ".stream"))
        resumed = lines(rill(*args, "--resume", journal)[0])
        self.assertEqual(resumed, lines(rill(*args, "--resume", journal)[0]))
        self.assertFalse(os.path.exists(case + ".stream"))
        # What nobody interrupted comes to the same.
        whole = lines(rill(*args)[0])
        for row in resumed + whole:
            row.pop("seconds", None)
        self.assertEqual(resumed, whole)

    def test_wrong_use(self):
        for words, args in (
            ([b"--lines", b"--queries"], ["--lines", "9", "--queries", "1"]),
            ([b"--lines: 29 records", b"after 30"], ["--lines", "29"]),
            ([b"--seed", b"--read"], ["--read", QUESTIONS, "--seed", "1"]),
            ([b"--distance", b"whole numbers"], ["--distance", "far"]),
            ([b"--server-context", b"--server"], ["--server-context", "9"]),
            ([b"--sinks", b"server"], ["--server", "http://localhost:1", "--sinks", "4"]),
            ([b"--server-tokens", b"tokenizer"], ["--server", "http://x", "--server-tokens", "9"]),
            ([b"ftp://x", b"http://"], ["--server", "ftp://x"]),
        ):
            self.refused(2, [word.decode() for word in words], "eval", "streameval", *args)
        self.refused(1, ["questions.jsonl:1", "text"], "eval", "streameval", "--read", QUESTIONS)
        self.refused(1, ["nowhere.jsonl"], "eval", "streameval", "--read", "nowhere.jsonl")


class Servers(Test):
    def setUp(self):
        super().setUp()
        Server.seen, Server.wrong, Server.after = [], None, ">\nline"
        Server.failing = 0
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Server)
        thread = threading.Thread(target=self.server.serve_forever)
        thread.start()
        self.addCleanup(thread.join)
        self.addCleanup(self.server.server_close)
        self.addCleanup(self.server.shutdown)
        self.url = f"http://127.0.0.1:{self.server.server_port}"

    def ask(self, *args, **options):
        args = ["--server", self.url, "--queries", "4", "--json", *args]
        return lines(rill("eval", "streameval", *args, **options)[0])

    def test_all_of_the_text(self):
        rows = self.ask("--distance", "20")
        self.assertEqual(rows[0]["attention"], "server")
        self.assertEqual((rows[0]["accuracy"], rows[0]["in_cache"]), (1, 1))
        self.assertEqual(len(Server.seen), 4)
        request = Server.seen[-1]
        self.assertEqual(request["path"], "/v1/completions")
        self.assertEqual(request["temperature"], 0)
        self.assertEqual(request["stop"], ">")
        self.assertNotIn("model", request)
        self.assertIsNone(request["key"])
        self.assertEqual(request["prompt"].count("REGISTER_CONTENT is"), 60)
        self.assertEqual(request["prompt"].count("Question:"), 4)

    def test_what_is_cut_off_is_not_known(self):
        # A line has 40 characters: 1,000 of them hold 20 lines or so.
        rows = self.ask("--distance", "5,30", "--server-context", "1000")
        near, far = rows[:2]
        self.assertEqual((near["accuracy"], near["in_cache"]), (1, 1))
        self.assertEqual((far["accuracy"], far["out_of_cache"]), (0, 1))
        for request in Server.seen:
            self.assertLessEqual(len(request["prompt"]), 1000)
            self.assertRegex(request["prompt"], r"^(line \d+: |Question: )")

    def test_tokens_are_counted(self):
        model = os.path.join(os.environ["RILL_MODEL"], "rill-30m.gguf")
        rows = self.ask(model, "--distance", "2,20", "--server-tokens", "300")
        self.assertEqual([row["accuracy"] for row in rows[:2]], [1, 0])
        self.assertEqual([row["in_cache"] for row in rows[:2]], [1, 0])
        self.assertGreater(rows[1]["tokens_back"], 300)
        for request in Server.seen:
            ids = rill("tokenize", model, stdin=request["prompt"].encode())[0].split()
            self.assertLessEqual(len(ids), 300)

    def test_answers_end_where_they_should(self):
        Server.after = "7>\nline"
        self.assertEqual(self.ask()[0]["accuracy"], 0)
        self.assertEqual(self.ask()[0]["digit_accuracy"], 1)
        Server.after = ""  # some servers keep the stop text to themselves
        self.assertEqual(self.ask()[0]["accuracy"], 1)

    def test_name_key_and_path(self):
        for path in ("/v1", "/v1/", "/v1/completions", "/"):
            rill("eval", "streameval", "--server", self.url + path, "--queries", "1",
                 "--server-model", "tiny", env={**os.environ, "RILL_SERVER_KEY": "sesame"})
            self.assertEqual(Server.seen[-1]["path"], "/v1/completions")
            self.assertEqual(Server.seen[-1]["model"], "tiny")
            self.assertEqual(Server.seen[-1]["key"], "Bearer sesame")

    def refuse(self, words, *args):
        self.refused(1, [self.url, *words], "eval", "streameval", "--server", self.url, *args)

    def test_errors(self):
        for answer, words in (
            ((200, b"<html>hello</html>"), ["no JSON", "<html>hello"]),
            ((200, b'{"answer": 42}'), ["choices[0].text", "42"]),
            ((200, b""), ["no JSON"]),
            ((500, b"the model fell over"), ["HTTP 500", "the model fell over"]),
            ((400, b'{"error": {"message": "prompt is too long"}}'), ["HTTP 400: prompt is too long"]),
            ((404, b"{}"), ["HTTP 404", "/v1/completions"]),
            ((401, b'{"error": "who are you?"}'), ["HTTP 401: who are you?"]),
        ):
            Server.wrong = answer
            self.refuse(words)

    def test_nobody_there(self):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        self.refused(1, [f"http://127.0.0.1:{port}/v1/completions", "no answer"],
                     "eval", "streameval", "--server", f"http://127.0.0.1:{port}")

    def test_a_silent_one(self):
        with socket.create_server(("127.0.0.1", 0)) as silent:
            url = f"http://127.0.0.1:{silent.getsockname()[1]}"
            args = ["eval", "streameval", "--server", url, "--server-timeout", "1"]
            self.refused(1, [url, "no answer", "timed out"], *args)

    def test_a_failed_one_goes_on(self):
        args = ["--resume", self.path("journal"), "--distance", "20"]
        Server.failing = 3  # two answers are given
        out, err = rill("eval", "streameval", "--server", self.url, "--queries", "4", "--json",
                        *args, status=1)
        self.assertIn("HTTP 503", err)
        self.assertEqual(lines(out)[0]["questions"], 2)
        self.assertIn("HTTP 503", lines(out)[0]["error"])
        self.assertEqual(len(Server.seen), 3)
        self.assertEqual(self.ask(*args)[0]["accuracy"], 1)
        self.assertEqual(len(Server.seen), 5)  # the third again, and the fourth
        self.assertEqual(self.ask(*args)[0]["questions"], 4)
        self.assertEqual(len(Server.seen), 5)

    def test_another_tokenizer_is_another_text(self):
        models = [os.path.join(os.environ["RILL_MODEL"], "rill-30m.gguf"),
                  os.path.join(DATA, "tokenizers", "sp-bpe.model")]
        args = ["--server-tokens", "300", "--resume", self.path("journal")]
        self.ask(models[0], *args)
        self.refused(1, ["journal", "tokens"], "eval", "streameval", models[1], "--server", self.url,
                     "--queries", "4", *args)


if __name__ == "__main__":
    main()
