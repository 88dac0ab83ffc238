#!/usr/bin/env python3
"""Measures the goals of goals.json and prints a line for each: op, case, measured, goal, `met` or `short`.

  bench/goals.py --build build/release [--only REGEX] [-- --target=AVX2]

A goal names a bench program, a row of it and a counter: `share` (of the limit that bounds the row), of_<limit>, or
vs_<rival>. Where the goal depends on what the machine multiplies with, it is an object: {"dot": 0.65, "pair": 0.7}, the
counters of_dot and of_pair; dot counts where the target has a 4-way dot instruction. Exits with 1 if --strict is given
and a goal is short. A row that cannot be measured here (no such peer, one core) says so.
"""
import argparse
import json
import pathlib
import re
import sys

import report


def judge(goal, row):
    """(measured, wanted, unit) of a goal, measured None where this run has no such figure."""
    if isinstance(goal["goal"], dict):
        kind = "dot" if "of_dot" in row else "pair"
        if kind not in goal["goal"]:
            return None, None, f"of_{kind}"
        return row.get(f"of_{kind}"), goal["goal"][kind], f"of_{kind}"
    return row.get(goal["measure"]), goal["goal"], goal["measure"]


def main():
    own, flags = report.split_flags(sys.argv[1:])
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", type=pathlib.Path, required=True)
    parser.add_argument("--goals", type=pathlib.Path, default=pathlib.Path(__file__).with_name("goals.json"))
    parser.add_argument("--only", default="", help="a regular expression for op and case")
    parser.add_argument("--strict", action="store_true")
    args = parser.parse_args(own)
    goals = [g for g in json.loads(args.goals.read_text()) if re.search(args.only, f"{g['op']} {g['case']}")]

    rows, context = {}, {}
    for bench in dict.fromkeys(g["bench"] for g in goals):
        program = args.build / "bench" / bench
        if not program.exists():
            continue
        names = sorted({re.escape(g["row"]).replace(r"\-", "-") for g in goals if g["bench"] == bench})
        result = report.run_bench(program, "^(" + "|".join(names) + ")" + report.SUFFIX + "$", flags)
        context = context or result["context"]
        rows.update({(bench, row["name"]): row for row in report.rows_of(result)})

    for line in report.machine_lines(context):
        print(line)
    print(f"\n{'op':<22} {'case':<46} {'measured':>18} {'goal':>7}")
    short = 0
    for g in goals:
        row = rows.get((g["bench"], g["row"]))
        if row is None or row["error"]:
            measured, want, unit, verdict = None, g["goal"], "", row["error"] if row else "not measured here"
            short += bool(row)
        else:
            measured, want, unit = judge(g, row)
            verdict = "not for this target" if want is None else "not measured here" if measured is None else "met" if measured >= want else "short"
        short += verdict == "short"
        figure = "-" if measured is None else f"{measured:.3g} {unit}"
        want = "-" if want is None else f"{want:g}" if not isinstance(want, dict) else "/".join(f"{v:g}" for v in want.values())
        print(f"{g['op']:<22} {g['case']:<46} {figure:>18} {want:>7}  {verdict}")
    if args.strict and short:
        sys.exit(1)


if __name__ == "__main__":
    main()
