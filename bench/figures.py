#!/usr/bin/env python3
"""Regenerates the README's table of figures and the pictures beside it.

  bench/figures.py --build build/release           runs the benches, on the best target and on AVX2 (some minutes)
  bench/figures.py --json BEST.json [AVX2.json]    from the files that such a run left in the build folder
  bench/figures.py --json FILE --svg FILE          one picture alone, from the JSON of any run of bench_gemm

The table goes between the two comments `figures` of README.md, the pictures to docs/roofline_<target>.svg.
"""
import argparse
import html
import json
import math
import pathlib
import re
import sys

import report

ROOT = pathlib.Path(__file__).resolve().parents[1]
# What the table shows: words, and the row (its name without threads:1).
TABLE = (
    ("ternary 2560 x 2560, M = 1, from cache", "int_dot/ternary/2560x2560/M:1/cache"),
    ("ternary 2560 x 2560, M = 1, from DRAM", "int_dot/ternary/2560x2560/M:1/dram"),
    ("ternary 2560 x 2560, M = 8", "int_dot/ternary/2560x2560/M:8/cache"),
    ("ternary 2560 x 2560, M = 128", "int_dot/ternary/2560x2560/M:128/cache"),
    ("4 bit, groups of 128, M = 128", "int_dot/int4_g128/2560x2560/M:128/cache"),
    ("f32 x ternary, M = 64", "tile/ternary/2560x2560/M:64/cache"),
    ("depthwise 3x3, 56 x 56 x 96", "direct/56x56x96/K:3/nhwc"),
    ("depthwise 7x7, 56 x 56 x 96", "fft/56x56x96/K:7/warm"),
    ("depthwise 13x13, 56 x 56 x 128", "fft/56x56x128/K:13/warm"),
    ("depthwise 31x31, 56 x 56 x 128", "fft/56x56x128/K:31/warm"),
    ("depthwise 51x51, 56 x 56 x 96", "fft/56x56x96/K:51/warm"),
    ("Inception mixer, 56 x 56 x 96", "inception/56x56x96/nhwc"),
)
FILTER = r"^(int_dot|tile)/.*2560x2560/M:(1|4|8|32|64|128|512)/.*threads:1|56x56x(96|128)/(K:3/)?nhwc|^fft/56x56x(96/K:(7|51)|128/K:(13|31))/warm/threads:1"
COLOURS = ("#1f5fa8", "#c8501e", "#2e8540", "#8a3fa0", "#d4a017", "#17a2a8", "#a01f3c", "#5a5a5a", "#7fb3e6", "#f0a080",
           "#90d090", "#d0a0e0", "#222222", "#6b7a1e")
DASHES = ("", "6 3")
UNITS = {"dram": "DRAM read", "l2": "L2 read", "pair": "pair peak", "dot": "dot peak", "bf16": "bf16 dot peak", "fma": "FMA peak", "copy": "a copy's rate"}


def probe_of(context):
    """The limits on one thread, in units of 1e9 a second."""
    return {name: float(rate) for name, rate in re.findall(r"(\w+) ([\d.]+) (?:\(|G)", context.get("probe", ""))}


def short(context):
    return context.get("target", "").split("_")[0].replace("AVX3", "AVX-512")


# The table.

def cells(rows, name):
    row = next((r for r in rows if re.fullmatch(re.escape(name) + "(/threads:1)?", r["name"])), None)
    if row is None or row["error"]:
        return ["-", "-"]
    rate = report.rate_text({"gmacs": row["gmacs"]}) if "gmacs" in row else report.time_text(row["us"])
    limit = row["label"].get("limit", "")
    return [rate, f"{row['share'] * 100:.0f} % of {UNITS.get(limit, limit)}" if "share" in row else "-"]


def table(results):
    lines = ["One core of " + results[0]["context"].get("cpu_model", "?") + "; built with " +
             results[0]["context"].get("built", "?").split(",")[0] + ".", ""]
    lines.append("| op | " + " | ".join(f"{short(r['context'])} | share" for r in results) + " |")
    lines.append("|---|" + "---|---|" * len(results))
    for words, name in TABLE:
        columns = [cell for r in results for cell in cells(report.rows_of(r), name)]
        lines.append(f"| {words} | " + " | ".join(columns) + " |")
    return "\n".join(lines)


def replace_between(text, name, new):
    """The text with what stands between <!-- name --> and <!-- /name --> replaced."""
    pattern = re.compile(rf"(<!-- {name} -->\n).*?(<!-- /{name} -->)", re.DOTALL)
    if not pattern.search(text):
        raise ValueError(f"no <!-- {name} --> in the text")
    return pattern.sub(lambda m: m.group(1) + new + "\n" + m.group(2), text)


# The picture.

def points_of(rows):
    """(weights, who, M, cold, bits, GMAC/s) of each GEMM row on one thread and of its peers."""
    points = []
    for row in rows:
        m = re.fullmatch(r"\w+/(\w+)/\d+x\d+/M:(\d+)/(cache|dram)/threads:1", row["name"])
        if not m or row["error"] or "bits" not in row or row["name"].startswith("tile_half/"):
            continue
        x = "bf16 x " if row["name"].startswith("bf16_dot/") else "f32 x " if row["name"].startswith("tile/") else ""
        kind = ("f32 x " if not x and row["label"].get("limit") == "fma" else x) + m[1]
        at = (int(m[2]), m[3] == "dram", row["bits"])
        points.append((kind, "lutra", *at, row["gmacs"]))
        for peer, ratio in report.peers_of(row).items():
            if peer not in ("rounded", "1thread", "tile", "f32x") and ratio > 0:
                points.append((kind, peer, *at, row["gmacs"] / ratio))
    return points


class Panel:
    """A plot: left, top, width, height, the ranges of both axes, and which are logarithmic."""

    def __init__(self, box, x_range, y_range, x_log):
        (self.left, self.top, self.width, self.height), self.x_range, self.y_range, self.x_log = box, x_range, y_range, x_log
        self.out = [f'<rect x="{self.left}" y="{self.top}" width="{self.width}" height="{self.height}" fill="none" stroke="#888"/>']

    def x(self, v):
        low, high = self.x_range
        part = math.log(v / low) / math.log(high / low) if self.x_log else (v - low) / (high - low)
        return self.left + part * self.width

    def y(self, v):
        low, high = self.y_range
        return self.top + self.height * (1 - math.log(v / low) / math.log(high / low))

    def text(self, x, y, words, anchor="start", more=""):
        self.out.append(f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" {more}>{html.escape(words)}</text>')

    def axes(self, title, x_name, x_ticks, y_name="GMAC/s"):
        self.text(self.left, self.top - 10, title, more='font-weight="bold"')
        self.text(self.left + self.width / 2, self.top + self.height + 36, x_name, "middle")
        middle = self.top + self.height / 2
        self.text(self.left - 42, middle, y_name, "middle", f'transform="rotate(-90 {self.left - 42} {middle})"')
        for v in x_ticks:
            self.out.append(f'<line x1="{self.x(v):.1f}" y1="{self.top + self.height}" x2="{self.x(v):.1f}" y2="{self.top + self.height + 4}" stroke="#888"/>')
            self.text(self.x(v), self.top + self.height + 17, f"{v:g}", "middle")
        for v in (v for e in range(6) for v in (10**e, 2 * 10**e, 5 * 10**e) if self.y_range[0] <= v <= self.y_range[1]):
            self.out.append(f'<line x1="{self.left}" y1="{self.y(v):.1f}" x2="{self.left + self.width}" y2="{self.y(v):.1f}" stroke="#eee"/>')
            self.text(self.left - 6, self.y(v) + 4, f"{v:g}", "end")

    def line(self, points, dash="", colour="#555"):
        path = " ".join(f"{self.x(x):.1f},{self.y(y):.1f}" for x, y in points)
        self.out.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-dasharray="{dash}"/>')

    def mark(self, x, y, colour, who, cold):
        """A disc is ours, a square a peer's; hollow from DRAM, filled from cache."""
        fill = "white" if cold else colour
        x, y = self.x(x), self.y(y)
        shape = f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4.5"' if who == "lutra" else f'<rect x="{x - 4:.1f}" y="{y - 4:.1f}" width="8" height="8"'
        self.out.append(f'{shape} fill="{fill}" stroke="{colour}" stroke-width="1.6"><title>{html.escape(who)}</title>{"</circle>" if who == "lutra" else "</rect>"}')


def spread(ys, least):
    """The places moved apart to at least so much, in order."""
    order, placed = sorted(range(len(ys)), key=lambda i: ys[i]), list(ys)
    for before, i in zip(order, order[1:]):
        placed[i] = max(placed[i], placed[before] + least)
    return placed


def svg(context, rows):
    points, limits = points_of(rows), probe_of(context)
    if not points or not limits:
        raise ValueError("no row of bench_gemm on one thread, or no probe, in these files")
    kinds = list(dict.fromkeys(p[0] for p in points))
    colour = {kind: COLOURS[i % len(COLOURS)] for i, kind in enumerate(kinds)}
    peaks = [(UNITS[name], limits[name]) for name in ("dot", "pair", "fma") if limits.get(name, 0) > 0]
    slopes = [(UNITS[name], limits[name]) for name in ("dram", "l2") if limits.get(name, 0) > 0]
    rates = [p[5] for p in points] + [v for _, v in peaks]
    y_range = (10 ** math.floor(math.log10(min(rates))), max(rates) * 1.5)
    intensity = lambda p: 8 * p[2] / p[4]  # multiply-adds for each byte of weights
    x_range = (min(map(intensity, points)) / 2, max(map(intensity, points)) * 1.3)

    roof = Panel((70, 70, 520, 380), x_range, y_range, True)
    ticks = [4**e for e in range(-1, 9) if x_range[0] <= 4**e <= x_range[1]]
    roof.axes("Roofline", "multiply-adds for each byte of weights (M x 8 / bits)", ticks)
    top = max(v for _, v in peaks)
    for (words, rate), dash in zip(slopes, DASHES):
        ends = max(x_range[0], y_range[0] / rate), min(x_range[1], top / rate)
        if ends[0] < ends[1]:
            roof.line([(x, rate * x) for x in ends], dash)
    for (words, rate), y in zip(peaks, spread([roof.y(rate) for _, rate in peaks], 13)):
        roof.line([(x_range[0], rate), (x_range[1], rate)], "2 3")
        roof.text(roof.left + roof.width + 5, y + 4, f"{words} {rate:.0f}")
    bits_max = math.ceil(max(p[4] for p in points)) + 0.5
    bits = Panel((770, 70, 330, 380), (0.5, bits_max), y_range, False)
    bits.axes("M = 1: speed against bits per weight", "bits per weight, scales included", range(1, int(bits_max) + 1))
    for (words, rate), dash in zip(slopes, DASHES):
        xs = [0.5 + (bits_max - 0.5) * i / 40 for i in range(41)]
        bits.line([(x, 8 * rate / x) for x in xs if y_range[0] < 8 * rate / x < y_range[1]], dash)
    for p in points:
        kind, who, m, cold, b, rate = p
        roof.mark(intensity(p), rate, colour[kind], who, cold)
        if m == 1:
            bits.mark(b, rate, colour[kind], who, cold)

    peers = sorted({p[1] for p in points} - {"lutra"})
    legend = [(kind, f'<rect x="0" y="-9" width="10" height="10" fill="{colour[kind]}"/>') for kind in kinds]
    legend.append(("lutra", '<circle cx="5" cy="-4" r="4.5" fill="#333"/>'))
    if peers:
        legend.append((", ".join(peers), '<rect x="1" y="-8" width="8" height="8" fill="#333"/>'))
    legend.append(("from DRAM", '<circle cx="5" cy="-4" r="4.5" fill="white" stroke="#333" stroke-width="1.6"/>'))
    legend += [(f"{words} {rate:.0f} GB/s", f'<line x1="-6" y1="-4" x2="12" y2="-4" stroke="#555" stroke-dasharray="{dash}"/>')
               for (words, rate), dash in zip(slopes, DASHES)]
    x, y, items = 70, 516, []
    for words, shape in legend:
        wide = 34 + 7 * len(words)
        if x + wide > 1180:
            x, y = 70, y + 20
        items.append(f'<g transform="translate({x} {y})">{shape}<text x="16" y="0">{html.escape(words)}</text></g>')
        x += wide
    head = f"{context.get('cpu_model', '')}; target {context.get('target', '')}; one thread"
    return "\n".join([f'<svg xmlns="http://www.w3.org/2000/svg" width="1200" height="{y + 20}" font-family="sans-serif" font-size="12">',
                      '<rect width="100%" height="100%" fill="white"/>', f'<text x="20" y="24" font-size="14">{html.escape(head)}</text>',
                      *roof.out, *bits.out, *items, "</svg>"]) + "\n"


def measure(build, target):
    """One run of all benches as one JSON result, kept in the build folder."""
    flags = [f"--target={target}"] if target else []
    parts = [report.run_bench(build / "bench" / name, FILTER, flags) for name in report.BENCHES if (build / "bench" / name).exists()]
    if not parts:
        sys.exit(f"figures: {build} has no benches")
    both = {"context": parts[0]["context"], "benchmarks": [b for part in parts for b in part["benchmarks"]]}
    (build / f"figures_{target or 'best'}.json").write_text(json.dumps(both, indent=1))
    return both


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", type=pathlib.Path)
    parser.add_argument("--json", nargs="+", type=pathlib.Path)
    parser.add_argument("--svg", type=pathlib.Path)
    args = parser.parse_args()
    if args.json:
        results = [json.loads(path.read_text()) for path in args.json]
    elif args.build:
        results = [measure(args.build, ""), measure(args.build, "AVX2")]
    else:
        parser.error("one of --build and --json is needed")
    if args.svg:
        args.svg.write_text(svg(results[0]["context"], report.rows_of(results[0])))
        return
    readme = ROOT / "README.md"
    readme.write_text(replace_between(readme.read_text(), "figures", table(results)))
    for r in results:
        path = ROOT / "docs" / f"roofline_{short(r['context']).lower()}.svg"
        path.write_text(svg(r["context"], report.rows_of(r)))
        print(path)


if __name__ == "__main__":
    main()
