#!/usr/bin/env python3
"""Lists the cases in which the algorithm that is chosen is not the fastest by more than the tolerance.

  bench/choose.py --build build/release [--program bench_gemm] [--only REGEX] [--runs 3] [-- --target=AVX2]
  bench/choose.py --build build/release --program bench_depthwise --tolerance 0.1
  bench/choose.py --json FILE...

Every algorithm that accepts a case of the program's rows choose/... runs in turn with the chosen one. With several runs a
case counts where all of them agree; what is printed is the run that is kindest to the choice. Exits with 1 if there is
such a case.
"""
import argparse
import json
import pathlib
import sys

import report


def better(rows, least):
    """(row, algorithm, chosen time / its time) of each algorithm that is faster than the chosen one by more."""
    for row in rows:
        for algo, ratio in report.peers_of(row).items():
            if ratio < 1 - least:
                yield row, algo, 1 / ratio


def worst_of(runs):
    """One list of rows from several runs: each ratio as the kindest run has it; an algorithm that any run left out as far
    too slow is out."""
    rows = [dict(row) for row in runs[0]]
    for row in rows:
        same = [next((r for r in run if r["name"] == row["name"]), {}) for run in runs[1:]]
        for key in [k for k in row if k.startswith("vs_")]:
            if all(key in r for r in same):
                row[key] = max([row[key], *(r[key] for r in same)])
            else:
                del row[key]
    return rows


def main():
    own, flags = report.split_flags(sys.argv[1:])
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", type=pathlib.Path)
    parser.add_argument("--program", default="bench_gemm", choices=["bench_gemm", "bench_depthwise"])
    parser.add_argument("--json", nargs="+", type=pathlib.Path, help="runs that --benchmark_out wrote, instead of new ones")
    parser.add_argument("--only", default="", help="a regular expression for what follows choose/")
    parser.add_argument("--runs", type=int, default=1)
    parser.add_argument("--tolerance", type=float, default=0.05)
    args = parser.parse_args(own)
    if args.json:
        results = [json.loads(path.read_text()) for path in args.json]
    elif args.build:
        program = args.build / "bench" / args.program
        results = [report.run_bench(program, f"^choose/.*({args.only})", flags) for _ in range(args.runs)]
    else:
        parser.error("one of --build and --json is needed")
    runs = [report.rows_of(result) for result in results]
    for line in report.machine_lines(results[0]["context"]):
        print(line)
    wrong = [row for run in runs for row in run if row["error"]]
    for row in wrong:
        print(f"{row['name']}: {row['error']}")
    found = list(better(worst_of(runs), args.tolerance))
    for row, algo, factor in found:
        print(f"{row['name']:<48} chosen {row['label'].get('chosen', '?'):<12} {algo} is {factor:.2f} times as fast")
    print(f"{len(found)} of {len(runs[0])} cases")
    if found or wrong:
        sys.exit(1)


if __name__ == "__main__":
    main()
