#!/usr/bin/env python3
"""How the time of a depthwise convolution grows with the kernel and with the image: a table, a picture, a check.

  bench/curves.py --build build/release [--runs 3] [--svg FILE] [-- --target=AVX2]
  bench/curves.py --json FILE... [--svg FILE]

Runs the rows curve/... of bench_depthwise; of several runs, table and picture have the fastest of each row. The check: from one odd K to the next, the time of what kAuto takes grows by
at most 1.4 times, both timed in turn. With several runs a step counts where all of them agree. Exits with 1 if there is
such a step.
"""
import argparse
import html
import json
import pathlib
import re
import sys

import choose
import figures
import report

OURS = {"lutra": "kAuto", "direct": "kDirect", "fft": "kFft"}


def times_of(row):
    """{who: microseconds} of ours, each algorithm, each peer and the FMA peak."""
    times = {"lutra": row["us"]}
    times.update({who: row["us"] * ratio for who, ratio in report.peers_of(row).items() if who != "smaller"})
    if row.get("limit", 0) > 0:
        times["FMA peak"] = row["us"] * row["gmacs"] / row["limit"]
    return times


def curves_of(rows, axis):
    """{who: [(K or the image's side, microseconds)]} of the rows of an axis, "k" or "size"."""
    curves = {}
    for row in rows:
        m = re.fullmatch(rf"curve/{axis}/(\d+)x\d+x\d+/K:(\d+)/threads:1", row["name"])
        if m and not row["error"]:
            for who, us in times_of(row).items():
                curves.setdefault(who, []).append((int(m[2] if axis == "k" else m[1]), us))
    return {who: sorted(points) for who, points in curves.items()}


def fastest(runs):
    """One list of rows from several runs: each as the run has it in which it took least."""
    rows = {}
    for row in (row for run in runs for row in run):
        if row["name"] not in rows or row["us"] < rows[row["name"]]["us"]:
            rows[row["name"]] = row
    return list(rows.values())


def steps(rows, most):
    """(row, growth) of each step from one odd K to the next that is too steep."""
    return [(row, 1 / row["vs_smaller"]) for row in rows if row.get("vs_smaller", 1) * most < 1]


def markdown(rows):
    curves = [curves_of(rows, axis) for axis in ("k", "size")]
    lines = []
    for curve, head in zip(curves, ("K, at 56 x 56 x 96", "image, 13 x 13, 96 channels")):
        lines += ["", "| " + " | ".join([head, *(OURS.get(who, who) for who in curve)]) + " |", "|" + "---|" * (len(curve) + 1)]
        for x, _ in curve.get("lutra", ()):
            cells = [report.time_text(dict(points)[x]) if x in dict(points) else "-" for points in curve.values()]
            lines.append("| " + " | ".join([str(x), *cells]) + " |")
    return "\n".join(lines)


def svg(context, rows):
    by_k, by_size = curves_of(rows, "k"), curves_of(rows, "size")
    if not by_k or not by_size:
        raise ValueError("no rows curve/... in these files")
    names = [who for who in dict.fromkeys([*by_k, *by_size]) if who != "FMA peak"]
    colour = dict(zip(names, figures.COLOURS))
    out = []
    for left, curves, title, x_name, log in (
            (80, by_k, "Time against K: 56 x 56 x 96", "K (K x K taps)", False),
            (680, by_size, "Time against the image: 13 x 13, 96 channels", "side of the image in pixels", True)):
        xs = [x for x, _ in curves["lutra"]]
        ys = [us for points in curves.values() for _, us in points]
        panel = figures.Panel((left, 70, 500, 380), (min(xs), max(max(xs), min(xs) + 1)), (min(ys) / 1.2, max(ys) * 1.2), log)
        panel.axes(title, x_name, xs if log else [x for x in xs if x % 8 == 3], "us")
        for who, points in curves.items():
            peak = who == "FMA peak"
            panel.line(points, "2 3" if peak else "6 3" if who in ("direct", "fft") else "", colour.get(who, "#555"))
            if who not in ("direct", "fft", "FMA peak"):
                for x, us in points:
                    panel.mark(x, us, colour[who], who, False)
        out += panel.out
    x = 80
    for who in [*names, "FMA peak"]:
        words = f"lutra, {OURS[who]}" if who in OURS else who
        dash = {"FMA peak": "2 3", "direct": "6 3", "fft": "6 3"}.get(who, "")
        out.append(f'<g transform="translate({x} 520)"><line x1="-6" y1="-4" x2="12" y2="-4" stroke="{colour.get(who, "#555")}" '
                   f'stroke-width="2" stroke-dasharray="{dash}"/><text x="18" y="0">{html.escape(words)}</text></g>')
        x += 44 + 7 * len(words)
    head = f"{context.get('cpu_model', '')}; target {context.get('target', '')}; one thread, f32, NHWC, in cache where it fits"
    return "\n".join(['<svg xmlns="http://www.w3.org/2000/svg" width="1220" height="540" font-family="sans-serif" font-size="12">',
                      '<rect width="100%" height="100%" fill="white"/>', f'<text x="20" y="24" font-size="14">{html.escape(head)}</text>',
                      *out, "</svg>"]) + "\n"


def main():
    own, flags = report.split_flags(sys.argv[1:])
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", type=pathlib.Path)
    parser.add_argument("--json", nargs="+", type=pathlib.Path, help="runs that --benchmark_out wrote, instead of new ones")
    parser.add_argument("--runs", type=int, default=1)
    parser.add_argument("--svg", type=pathlib.Path)
    parser.add_argument("--most", type=float, default=1.4, help="growth from one odd K to the next")
    args = parser.parse_args(own)
    if args.json:
        results = [json.loads(path.read_text()) for path in args.json]
    elif args.build:
        program = args.build / "bench" / "bench_depthwise"
        results = [report.run_bench(program, "^curve/", flags) for _ in range(args.runs)]
    else:
        parser.error("one of --build and --json is needed")
    runs = [report.rows_of(result) for result in results]
    for line in report.machine_lines(results[0]["context"]):
        print(line)
    print(markdown(fastest(runs)))
    if args.svg:
        args.svg.write_text(svg(results[0]["context"], fastest(runs)))
    wrong = [row for run in runs for row in run if row["error"]]
    for row in wrong:
        print(f"{row['name']}: {row['error']}")
    steep = steps(choose.worst_of(runs), args.most)
    print()
    for row, growth in steep:
        print(f"{row['name']}: {growth:.2f} times the time of the odd K before, allowed is {args.most:g}")
    print(f"{len(steep)} of {sum('vs_smaller' in row for row in runs[0])} steps are too steep")
    if steep or wrong:
        sys.exit(1)


if __name__ == "__main__":
    main()
