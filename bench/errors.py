#!/usr/bin/env python3
"""Prints how far the answers of lutra and of the peers linked into a bench are from the truth, as Markdown.

  bench/errors.py --build build/release [--program bench_depthwise] [-- --target=AVX2]
  bench/errors.py --json FILE...

The truth is in double precision, of the same floats. bench_gemm: the root of sum (got - want)^2 / sum want^2.
bench_depthwise: the largest error of a channel over its largest output, of the worst channel.
"""
import argparse
import json
import pathlib
import sys

import report


def table(rows):
    """Lines of Markdown: a row for each weight and K, input and peer."""
    names = dict.fromkeys(key[6:] for row in rows for key in row if key.startswith("error_"))
    names = sorted((name for name in names if name not in ("message", "occurred")), key=lambda name: not name.startswith("lutra"))
    lines = ["| case | " + " | ".join(names) + " |", "|" + "---|" * (len(names) + 1)]
    for row in rows:
        _, kind, form, shape, *_ = row["name"].split("/")
        cells = [f"{row['error_' + name]:.2g}" if "error_" + name in row else "-" for name in names]
        what = row["error"] if row["error"] else f"{form}, K = {shape.split('x')[1]}, {kind}"
        lines.append("| " + " | ".join([what, *cells]) + " |")
    return lines


def main():
    own, flags = report.split_flags(sys.argv[1:])
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", type=pathlib.Path)
    parser.add_argument("--program", default="bench_gemm", choices=["bench_gemm", "bench_depthwise"])
    parser.add_argument("--json", nargs="+", type=pathlib.Path, help="what --benchmark_out wrote, instead of a run")
    args = parser.parse_args(own)
    if args.json:
        results = [json.loads(path.read_text()) for path in args.json]
    elif args.build:
        results = [report.run_bench(args.build / "bench" / args.program, "^errors/", flags)]
    else:
        parser.error("one of --build and --json is needed")
    for line in report.machine_lines(results[0]["context"]):
        print(line + "  ")
    rows = [row for result in results for row in report.rows_of(result)]
    print("", *table(rows), sep="\n")
    if not rows or any(row["error"] for row in rows):
        sys.exit(1)


if __name__ == "__main__":
    main()
