#!/usr/bin/env python3
"""Runs examples/bokeh: pictures whose answer is known, one clear line for bad files, and a photograph.

    bokeh_test.py PROGRAM [Pictures | Errors | Photograph]
"""

import math
import os
import random
import re
import shutil
import struct
import subprocess
import sys
import tempfile
import unittest
import zlib

PHOTOGRAPH = "/usr/share/matplotlib/mpl-data/sample_data/grace_hopper.jpg"


def run(*options):
    return subprocess.run([PROGRAM, *map(str, options)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=300)


def chunk(kind, body):
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png_of(rows):
    """A PNG file of rows of (red, green, blue)."""
    header = struct.pack(">IIBBBBB", len(rows[0]), len(rows), 8, 2, 0, 0, 0)
    lines = b"".join(b"\0" + bytes(v for pixel in row for v in pixel) for row in rows)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(lines)) + chunk(b"IEND", b"")


def paeth(a, b, c):
    return min((abs(b - c), 0, a), (abs(a - c), 1, b), (abs(a + b - 2 * c), 2, c))[2]


def rows_of(png):
    """Rows of (red, green, blue) of a PNG file without palette, transparency and interlacing."""
    assert png[:8] == b"\x89PNG\r\n\x1a\n"
    at, packed = 8, b""
    while at < len(png):
        size, kind = struct.unpack(">I4s", png[at : at + 8])
        body = png[at + 8 : at + 8 + size]
        assert png[at : at + 12 + size] == chunk(kind, body)
        if kind == b"IHDR":
            width, height, *format = struct.unpack(">IIBBBBB", body)
            assert format == [8, 2, 0, 0, 0]
        packed += body if kind == b"IDAT" else b""
        at += 12 + size
    data, rows, above = zlib.decompress(packed), [], [0] * (3 * width)
    assert kind == b"IEND" and len(data) == height * (1 + 3 * width)
    for y in range(height):
        kind, *line = data[y * (1 + 3 * width) : (y + 1) * (1 + 3 * width)]
        for i in range(3 * width):
            left, corner = (line[i - 3], above[i - 3]) if i >= 3 else (0, 0)
            line[i] += (0, left, above[i], (left + above[i]) // 2, paeth(left, above[i], corner))[kind]
            line[i] &= 255
        rows.append([tuple(line[i : i + 3]) for i in range(0, 3 * width, 3)])
        above = line
    return rows


def linear_of(v):
    v /= 255
    return v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4


def srgb_of(v):
    return 255 * (v * 12.92 if v <= 0.0031308 else 1.055 * v ** (1 / 2.4) - 0.055)


class Case(unittest.TestCase):
    def setUp(self):
        self.dir = tempfile.mkdtemp()
        self.addCleanup(shutil.rmtree, self.dir)
        self.output = os.path.join(self.dir, "output.png")

    def path(self, name, content):
        path = os.path.join(self.dir, name)
        with open(path, "wb") as f:
            f.write(content)
        return path

    def blurred(self, rows, *options):
        result = run("--quiet", "--output", self.output, *options, self.path("photo.png", png_of(rows)))
        self.assertEqual((result.returncode, result.stdout, result.stderr), (0, b"", b""), options)
        with open(self.output, "rb") as f:
            return rows_of(f.read())


class Pictures(Case):
    def assert_near(self, got, want, what):
        """8-bit values apart by rounding alone."""
        for got_row, want_row in zip(got, want, strict=True):
            for got_pixel, want_pixel in zip(got_row, want_row, strict=True):
                for a, b in zip(got_pixel, want_pixel, strict=True):
                    self.assertLessEqual(abs(a - b), 0.51, what)

    def test_a_point_becomes_the_kernel(self):
        # Red, green and blue points, far enough apart and from the border.
        size, height, width = 11, 23, 61
        points = {(11, 10): (255, 0, 0), (9, 30): (0, 255, 0), (13, 50): (0, 0, 255)}
        rows = [[points.get((y, x), (0, 0, 0)) for x in range(width)] for y in range(height)]

        def disk(x, y):
            return min(max(size / 2 - math.hypot(x, y) + 0.5, 0), 1)

        def star(x, y):
            inside = 0
            for i in range(16):
                a, b = x + (i % 4 + 0.5) / 4 - 0.5, y + (i // 4 + 0.5) / 4 - 0.5
                corners = [((0.45 if k % 2 else 1) * size / 2, k * math.pi / 5) for k in range(11)]
                corners = [(r * math.sin(t), -r * math.cos(t)) for r, t in corners]  # one points upwards
                inside += any(  # in one of the triangles from the middle to an edge
                    ax * by - ay * bx > 0 and ax * b - ay * a >= 0 and a * by - b * bx >= 0
                    and (bx - ax) * (b - ay) - (by - ay) * (a - ax) >= 0
                    for (ax, ay), (bx, by) in zip(corners, corners[1:]))
            return inside / 16

        def motion(degrees):
            ex, ey, half = math.cos(math.radians(degrees)), -math.sin(math.radians(degrees)), (size - 1) / 2

            def light(x, y):
                along = min(max(x * ex + y * ey, -half), half)
                return max(1 - math.hypot(x - along * ex, y - along * ey), 0)

            return light

        half = size // 2
        for options, light in (("disk",), disk), (("star",), star), (("motion", "--angle", 0), lambda x, y: y == 0), (
                ("motion", "--angle", 30), motion(30)):
            total = sum(light(x, y) for y in range(-half, half + 1) for x in range(-half, half + 1))
            want = [[[0, 0, 0] for _ in range(width)] for _ in range(height)]
            for (y, x), colour in points.items():
                for dy in range(-half, half + 1):
                    for dx in range(-half, half + 1):
                        want[y + dy][x + dx] = [srgb_of(c / 255 * light(dx, dy) / total) for c in colour]
            self.assert_near(self.blurred(rows, "--size", size, "--kernel", *options), want, options)

    def test_a_constant_picture_stays(self):
        for height, width, size in (1, 1, 31), (40, 33, 31), (70, 90, 201):
            for kernel in "disk", "star", "motion":
                rows = [[(200, 3, 90)] * width] * height
                self.assertEqual(self.blurred(rows, "--size", size, "--kernel", kernel), rows, (height, width, kernel))

    def test_any_picture(self):
        """Against the definition: borders, linear light, colours apart."""
        random.seed(1)
        size, height, width = 5, 19, 14
        rows = [[tuple(random.choice((0, 30, 128, 255)) for _ in range(3)) for _ in range(width)] for _ in range(height)]
        light = [[min(max(size / 2 - math.hypot(x - 2, y - 2) + 0.5, 0), 1) for x in range(size)] for y in range(size)]
        total = sum(map(sum, light))

        def at(y, x, c):
            return linear_of(rows[min(max(y, 0), height - 1)][min(max(x, 0), width - 1)][c])

        want = [[[srgb_of(sum(light[j][i] * at(y + j - 2, x + i - 2, c) for j in range(size) for i in range(size)) / total)
                  for c in range(3)] for x in range(width)] for y in range(height)]
        self.assert_near(self.blurred(rows, "--size", size), want, "disk")

    def test_size_1_changes_nothing(self):
        random.seed(2)
        rows = [[tuple(random.randrange(256) for _ in range(3)) for _ in range(31)] for _ in range(17)]
        for kernel in "disk", "star", "motion":
            self.assertEqual(self.blurred(rows, "--size", 1, "--kernel", kernel), rows)

    def test_targets(self):
        random.seed(3)
        rows = [[tuple(random.randrange(256) for _ in range(3)) for _ in range(60)] for _ in range(40)]
        want = self.blurred(rows, "--size", 31)
        for target in run("--target", "?", self.output).stderr.decode().split("have:")[1].split():
            got = self.blurred(rows, "--size", 31, "--target", target, "--threads", 3)
            self.assertLessEqual(max(abs(a - b) for g, w in zip(got, want) for p, q in zip(g, w) for a, b in zip(p, q)),
                                 1, target)


class Errors(Case):
    def fails(self, line, *options):
        result = run("--output", self.output, *options)
        error = result.stderr.decode(errors="replace")
        self.assertEqual(result.returncode, 1, error)
        self.assertRegex(error, r"\Abokeh: [^\n]+\n\Z")
        self.assertRegex(error, line)
        self.assertEqual(result.stdout, b"")
        self.assertFalse(os.path.exists(self.output))
        self.assertFalse([name for name in os.listdir(self.dir) if name.endswith(".part")])

    def test_files(self):
        rows = [[(x, y, 7) for x in range(90)] for y in range(80)]
        png = png_of(rows)
        self.fails(r"text.png: is not a PNG or JPEG file \(unknown image type\)", self.path("text.png", b"Not a picture.\n" * 99))
        self.fails("empty.png: is empty", self.path("empty.png", b""))
        for size in 1, 8, 30, 33, 41, 60, len(png) // 2, len(png) - 17, len(png) - 12:
            self.fails("cut.png: is (damaged or cut off|not a PNG or JPEG file)", self.path("cut.png", png[:size]))
        self.fails("cut.png: ", self.path("cut.png", png[:60] + b"\0" + png[61:]))
        self.fails("none.png: cannot be read: No such file", os.path.join(self.dir, "none.png"))
        self.fails("cannot be read", self.dir)
        huge = png[:8] + chunk(b"IHDR", struct.pack(">IIBBBBB", 12000, 12000, 8, 2, 0, 0, 0)) + png[33:]
        self.fails("huge.png: has 12000 x 12000 pixels, allowed are 1 ... 100000000", self.path("huge.png", huge))

    def test_options(self):
        photo = self.path("photo.png", png_of([[(1, 2, 3)] * 8] * 8))
        self.fails("photo is required")
        for size in 0, 403, -1, "x":
            self.fails("--size", photo, "--size", size)
        self.fails("--size is 30, must be odd", photo, "--size", 30)
        self.fails("--kernel", photo, "--kernel", "square")
        self.fails("--target", photo, "--target", "none")
        result = run("--output", os.path.join(self.dir, "no", "where.png"), photo)
        self.assertEqual(result.returncode, 1)
        self.assertRegex(result.stderr.decode(), r"\Abokeh: [^\n]* cannot be written: [^\n]*\n\Z")


class Photograph(Case):
    def setUp(self):
        super().setUp()
        if not os.path.exists(PHOTOGRAPH):
            print("skipped: %s is missing (Debian package python-matplotlib-data)" % PHOTOGRAPH)
            sys.exit(77)

    def test_report(self):
        for kernel, size in ("disk", 31), ("star", 101), ("motion", 201):
            result = run("--output", self.output, "--kernel", kernel, "--size", size, "--threads", 2, PHOTOGRAPH)
            self.assertEqual((result.returncode, result.stderr), (0, b""))
            time = r"[\d.e+]+ m?s"
            self.assertRegex(result.stdout.decode(), (
                r"\Aphotograph   512 x 600 pixels, 0\.31 megapixels of three colours\n"
                r"kernel       %s of %d x %d pixels, made ready in %s for [a-z ]+\n"
                r"blurred      in %s with 1 thread: %s a megapixel\n"
                r"blurred      in %s with 2 threads: %s a megapixel\n"
                r"plain loop   %s a megapixel with 1 thread, scaled from \d+ of 1800 rows: [\d.]+ times as long\n"
                r"             differs by at most [\d.e+-]+ of white, its own rounding included\n"
                r"picture      .*output\.png\n\Z") % (kernel, size, size, *[time] * 6))
            with open(self.output, "rb") as f:
                rows = rows_of(f.read())
            self.assertEqual((len(rows), len(rows[0])), (600, 512))

    def test_a_cut_jpeg(self):
        with open(PHOTOGRAPH, "rb") as f:
            jpeg = f.read()
        for size in 3, 300, len(jpeg) // 2, len(jpeg) - 2:
            result = run("--output", self.output, self.path("cut.jpg", jpeg[:size]))
            self.assertEqual(result.returncode, 1)
            self.assertRegex(result.stderr.decode(), r"\Abokeh: [^\n]*cut.jpg: is [^\n]*\n\Z")


if __name__ == "__main__":
    PROGRAM = os.path.abspath(sys.argv[1])
    unittest.main(argv=sys.argv[:1] + sys.argv[2:])
