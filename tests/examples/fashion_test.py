#!/usr/bin/env python3
"""Runs examples/fashion: equal answers on every target, and one clear line for everything that can be wrong.

    fashion_test.py PROGRAM MODEL [Targets | Output | Errors | Models | Data]
"""

import gzip
import json
import os
import re
import shutil
import struct
import subprocess
import sys
import tempfile
import unittest
import zlib

DATA = "/usr/share/datasets/fashion-mnist"
IMAGES, LABELS = "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"


def run(*options):
    return subprocess.run([PROGRAM, *map(str, options)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=300)


def targets():
    return run("--target", "?").stderr.decode().split("have:")[1].split()


class Case(unittest.TestCase):
    def setUp(self):
        self.dir = tempfile.mkdtemp()
        self.addCleanup(shutil.rmtree, self.dir)
        self.sheet = os.path.join(self.dir, "sheet.png")

    def path(self, name, content=None):
        path = os.path.join(self.dir, name)
        if content is not None:
            with open(path, "wb") as f:
                f.write(content)
        return path

    def run_well(self, *options):
        result = run("--output", self.sheet, *options)
        self.assertEqual((result.returncode, result.stderr), (0, b""), options)
        return result.stdout.decode()

    def check_failed(self, result, line=None):
        """Exit code 2, this one line on stderr (a pattern where it is compiled), no new file."""
        error = result.stderr.decode(errors="replace")
        self.assertEqual(result.returncode, 2, error)
        self.assertRegex(error, r"\Afashion: [^\n]+\n\Z")
        if isinstance(line, str):
            self.assertEqual(error, "fashion: " + line + "\n")
        elif line is not None:
            self.assertRegex(error, line)
        self.assertFalse(os.path.exists(self.sheet))
        self.assertFalse([name for name in os.listdir(self.dir) if name.endswith(".part")])

    def fails(self, line, *options):
        self.check_failed(run("--output", self.sheet, *options), line)


class Targets(Case):
    def test_predictions_are_equal(self):
        seen = {}
        for target in targets():
            for threads in 1, 3:
                path = self.path("predictions")
                out = self.run_well("--count", 500, "--target", target, "--threads", threads, "--predictions", path)
                self.assertIn("lutra on %s\n" % target, out)
                with open(path) as f:
                    seen[target, threads] = f.read()
        self.assertEqual(len(set(seen.values())), 1, "the targets disagree")
        labels = next(iter(seen.values())).split("\n")
        self.assertEqual(len(labels), 501)  # and the empty one behind the last newline
        self.assertTrue(set(labels[:-1]) <= set("0123456789"))


class Output(Case):
    def test_report(self):
        out = self.run_well("--count", 500, "--threads", 2)
        self.assertRegex(out, r"accuracy +\d\d\.\d\d %, \d+ of 500\n")
        self.assertRegex(out, r"with 1 thread: [\d,]+ pictures/s\n")
        self.assertRegex(out, r"with 2 threads: [\d,]+ pictures/s\n")
        self.assertRegex(out, r"ternary weights in [\d,]+ bytes, as float [\d,]+: \d+\.\d times smaller\n")
        agreement = float(re.search(r"agreement +([\d.]+) %", out).group(1))
        self.assertGreaterEqual(agreement, 98)
        most, bound = map(float, re.search(r"by at most ([\d.]+) on the first 100 pictures, allowed is ([\d.]+)",
                                           out).groups())
        self.assertLessEqual(most, bound)
        self.assertLessEqual(bound, 0.2)

    def test_quiet(self):
        self.assertEqual(self.run_well("--count", 1, "--quiet"), "")

    def test_sheet_is_a_png(self):
        self.run_well("--count", 100)
        with open(self.sheet, "rb") as f:
            png = f.read()
        self.assertEqual(png[:8], b"\x89PNG\r\n\x1a\n")
        at, pixels = 8, b""
        while at < len(png):
            size, kind = struct.unpack(">I4s", png[at : at + 8])
            body = png[at + 8 : at + 8 + size]
            self.assertEqual(struct.unpack(">I", png[at + 8 + size : at + 12 + size])[0], zlib.crc32(kind + body))
            if kind == b"IHDR":
                width, height = struct.unpack(">II", body[:8])
            pixels += body if kind == b"IDAT" else b""
            at += 12 + size
        self.assertEqual(kind, b"IEND")
        self.assertEqual(len(zlib.decompress(pixels)), height * (1 + 3 * width))

    def test_replaces_the_sheet_only_when_all_went_well(self):
        self.path("sheet.png", b"old")
        result = run("--output", self.sheet, "--data", "/nowhere")
        self.assertEqual(result.returncode, 2)
        with open(self.sheet, "rb") as f:
            self.assertEqual(f.read(), b"old")
        self.run_well("--count", 1)
        with open(self.sheet, "rb") as f:
            self.assertEqual(f.read(4), b"\x89PNG")

    def test_help(self):
        result = run("--help")
        self.assertEqual((result.returncode, result.stderr), (0, b""))
        for text in "--data", "--model", "--output", "--target", "--threads", "--count", "--quiet", "Example: fashion ":
            self.assertIn(text, result.stdout.decode())


class Errors(Case):
    def test_options(self):
        self.fails("The following argument was not expected: --size (--help lists the options)", "--size")
        self.fails(re.compile("AVX9"), "--target", "AVX9")
        names = " ".join(targets())
        self.fails('--target: ForceTarget: name is "AVX9", this CPU and build have: ' + names, "--target", "AVX9")
        for option, value in (("--count", "0"), ("--count", "10001"), ("--count", "many"), ("--threads", "0"),
                              ("--threads", "-1")):
            self.fails(re.compile(option), option, value)

    def test_missing_files(self):
        self.fails("/nowhere: has neither %s.gz nor %s (they come with the Debian package dataset-fashion-mnist)" %
                   (IMAGES, IMAGES), "--data", "/nowhere")
        self.fails("/nowhere: no such file", "--model", "/nowhere")
        self.fails("%s: not a regular file" % self.dir, "--model", self.dir)
        self.fails("/dev/zero: not a regular file", "--model", "/dev/zero")

    def test_unwritable(self):
        for option in "--output", "--predictions":
            self.fails('"/nowhere/x" cannot be written: No such file or directory', option, "/nowhere/x")
            self.fails("%s: exists and is not a regular file" % self.dir, option, self.dir)
            self.fails("/dev/null: exists and is not a regular file", option, "/dev/null")
        self.fails('"" cannot be written: No such file or directory', "--output", "")

    def test_stdout_is_full(self):
        with open("/dev/full", "w") as full:
            result = subprocess.run([PROGRAM, "--count", "1", "--output", self.sheet], stdout=full,
                                    stderr=subprocess.PIPE)
        self.assertEqual((result.returncode, result.stderr), (2, b"fashion: stdout cannot be written\n"))


class Models(Case):
    def setUp(self):
        super().setUp()
        with open(MODEL, "rb") as f:
            self.model = f.read()
        self.header_size = struct.unpack("<Q", self.model[:8])[0]
        self.header = json.loads(self.model[8 : 8 + self.header_size])
        self.body = self.model[8 + self.header_size :]

    def load(self, content):
        return run("--output", self.sheet, "--count", 1, "--threads", 1, "--model", self.path("model", content))

    def refuses(self, content, line):
        self.check_failed(self.load(content), re.compile(line))

    def refuses_header(self, header, line, body=None):
        text = header if isinstance(header, bytes) else json.dumps(header).encode()
        self.refuses(struct.pack("<Q", len(text)) + text + (self.body if body is None else body), line)

    def test_truncated(self):
        at = list(range(0, 16)) + [8 + self.header_size + d for d in (-1, 0, 1)] + [len(self.model) - 1]
        at += list(range(16, len(self.model), len(self.model) // 60))
        for size in at:
            self.refuses(self.model[:size], "")

    def test_sizes(self):
        self.refuses(b"", "has 0 bytes, allowed are 8")
        for size in 1 << 63, (1 << 64) - 1, len(self.model) - 7, 1 << 24:
            self.refuses(struct.pack("<Q", size) + self.model[8:], "its header has %d bytes" % size)
        self.refuses(struct.pack("<Q", 0) + self.model[8:], "not JSON")
        self.refuses(self.model + b"\0", "has 1 bytes behind its last tensor")

    def test_every_header_byte(self):
        """A changed byte is refused or harmless (names in the metadata, spaces); never more than a line."""
        step = max(1, self.header_size // 200)
        for i, at in enumerate(range(0, 8 + self.header_size, step)):
            model = bytearray(self.model)
            model[at] = (0, 0xFF, ord('"'), ord("9"), ord("{"), 1)[i % 6] if i % 2 else model[at] ^ 1 << i % 8
            result = self.load(model)
            if result.returncode == 0:
                self.assertEqual(result.stderr, b"")
                os.remove(self.sheet)
            else:
                self.check_failed(result)

    def test_not_a_header(self):
        for text in b"[]", b"1", b'"a"', b"null":
            self.refuses_header(text, "its header is not a JSON object")
        for text in b"", b"{", b"{}}", b"\xff\xfe", b'{"a": 1,}':
            self.refuses_header(text, "its header is not JSON from byte")
        self.refuses_header(b'{"a":' + b"[" * 1000000 + b"]" * 1000000 + b"}", "nested deeper than 4")
        self.refuses_header(b"[" * 4000000, "nested deeper than 4")
        self.refuses_header({}, "bytes behind its last tensor")
        self.refuses_header(b'{"\\n\\u001b[31m": 1}', "is not a JSON object")

    def test_entries(self):
        def changed(line, **fields):
            header = json.loads(json.dumps(self.header))
            for key, value in fields.items():
                if value is None:
                    del header["stem.weight"][key]
                else:
                    header["stem.weight"][key] = value
            self.refuses_header(header, '"stem.weight" ' + line if line[0] != "i" else line)

        begin, end = self.header["stem.weight"]["data_offsets"]
        for key in "dtype", "shape", "data_offsets":
            changed("must have dtype, shape and data_offsets", **{key: None})
        changed("must have dtype, shape and data_offsets", more=1)
        for dtype in "F33", 7, "f32":
            changed("has an unknown dtype", dtype=dtype)
        changed("is I32 .*, must be F32", dtype="I32")
        changed("has %d bytes, its shape needs %d" % (end - begin, (end - begin) // 2), dtype="F16")
        changed("has a shape that is not a list", shape=5)
        for size in -1, 0.5, "4", None, [4]:
            changed("has a dimension that is not a size", shape=[size])
        changed("has a dimension that is not a size", shape=[1 << 64])
        changed("has too many elements", shape=[1 << 32, 1 << 32])
        changed("has too many elements", shape=[(1 << 62) + 1])
        changed("has %d bytes, its shape needs 0" % (end - begin), shape=[0, 1 << 60])
        changed("is F32 .*, must be F32", shape=[self.header["stem.weight"]["shape"][0], 1, 2, 8])
        for offsets in 5, [0], [0, 1, 2], [-1, 4], [0, "1"], [0.0, 4]:
            changed("has data_offsets that are not two sizes", data_offsets=offsets)
        changed("has bytes %d ... %d" % (end, begin), data_offsets=[end, begin])
        changed("has bytes", data_offsets=[len(self.body), len(self.body) + end - begin])
        changed("has bytes", data_offsets=[(1 << 64) - (end - begin), (1 << 64) - 1])
        changed("its tensors overlap or leave a gap", data_offsets=[begin + 4, end + 4])

    def test_names(self):
        text = json.dumps(self.header)
        entry = json.dumps(self.header["stem.weight"])
        self.refuses_header(b'{"stem.weight": ' + entry.encode() + b"," + text[1:].encode(),
                            'its header has two entries "stem.weight"')
        self.refuses_header(text.replace('"dtype"', '"dtype": "F32", "dtype"', 1).encode(),
                            'its header has two entries "dtype"')
        for name in "stem.weight", "stage2.1.conv.weight", "head.bias", "test.logits":
            header = dict(self.header)
            header["other"] = header.pop(name)
            self.refuses_header(header, 'has no tensor "%s"' % name)
        for metadata in 1, [], {"activation": 1}, {"activation": None}:
            self.refuses_header(dict(self.header, __metadata__=metadata), "metadata|not a JSON object")
        self.refuses_header(dict(self.header, __metadata__={"activation": "gelu"}), "another activation than relu")
        self.refuses_header({k: v for k, v in self.header.items() if k != "__metadata__"}, "another activation")

    def test_values(self):
        for name, value, line in (("stem.weight", float("nan"), "not finite"),
                                  ("stage1.0.fc1.weight", float("inf"), "not finite"),
                                  ("stage1.0.conv1xk.bn.var", -1.0, "negative variance"),
                                  ("test.logits", 1e3, "differ from PyTorch's")):
            at = self.header[name]["data_offsets"][0]
            body = bytearray(self.body)
            body[at : at + 4] = struct.pack("<f", value)
            self.refuses_header(self.header, line, body)
        for name in "stem.bn.weight", "stage2.0.conv.bn.weight", "stage1.0.fc1.weight", "stage1.1.gamma":
            begin, end = self.header[name]["data_offsets"]
            body = bytearray(self.body)
            body[begin:end] = struct.pack("<f", 3e38) * ((end - begin) // 4)
            self.refuses_header(self.header, "", body)


class Data(Case):
    def with_data(self, images, labels, suffix=""):
        folder = tempfile.mkdtemp(dir=self.dir)
        for name, content in ((IMAGES, images), (LABELS, labels)):
            with open(os.path.join(folder, name + suffix), "wb") as f:
                f.write(content)
        return folder

    def test_uncompressed(self):
        with gzip.open(os.path.join(DATA, IMAGES + ".gz")) as f:
            images = f.read()
        with gzip.open(os.path.join(DATA, LABELS + ".gz")) as f:
            labels = f.read()
        path = self.path("p")
        self.run_well("--count", 50, "--predictions", path, "--data", self.with_data(images, labels))
        with open(path) as plain:
            seen = plain.read()
        self.run_well("--count", 50, "--predictions", path)
        with open(path) as packed:
            self.assertEqual(packed.read(), seen)
        os.remove(self.sheet)

        def refuses(line, images, labels, suffix=""):
            folder = self.with_data(images, labels, suffix)
            self.fails(re.compile(line), "--count", 10, "--data", folder)

        for size in 0, 3, 15, 16, 1000, len(images) - 1:
            refuses("does not begin like an idx file|bytes of data, its sizes need", images[:size], labels)
        for size in 0, 7, 8, len(labels) - 1:
            refuses("does not begin like an idx file|bytes of data, its sizes need", images, labels[:size])
        refuses("has more than", images + b"\0", labels)
        refuses("does not begin like an idx file of bytes of 3 dimensions", labels, labels)
        refuses("has a label 10, allowed are 0 ... 9", images, labels[:-1] + b"\n")
        refuses("dimension 0 is 4294967295", images[:4] + b"\xff" * 4 + images[8:], labels)
        refuses("has 10000 pictures of 56 x 14", images[:8] + struct.pack(">II", 56, 14) + images[16:], labels)
        refuses("and 9999 labels, needed", images, labels[:4] + struct.pack(">I", 9999) + labels[8:-1])

    def test_damaged_gz(self):
        with open(os.path.join(DATA, IMAGES + ".gz"), "rb") as f:
            images = f.read()
        with open(os.path.join(DATA, LABELS + ".gz"), "rb") as f:
            labels = f.read()
        for size in 5, 100, len(labels) // 2, len(labels) - 9:
            self.fails(re.compile(LABELS), "--data", self.with_data(images, labels[:size], ".gz"))
        broken = bytearray(labels)
        broken[len(broken) // 2] ^= 0x55
        self.fails(re.compile(LABELS), "--data", self.with_data(images, broken, ".gz"))


if __name__ == "__main__":
    PROGRAM, MODEL = os.path.abspath(sys.argv[1]), sys.argv[2]
    if not os.path.exists(DATA):
        print("skipped: %s is missing (Debian package dataset-fashion-mnist)" % DATA)
        sys.exit(77)
    unittest.main(argv=sys.argv[:1] + sys.argv[3:])
