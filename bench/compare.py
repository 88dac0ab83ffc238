#!/usr/bin/env python3
"""Compares two JSON files of a bench (--benchmark_out) and lists the rows that became slower.

  bench/compare.py OLD NEW [--tolerance 0.1]

A row counts by its share of its limit, measured beside it in each run: rates of two runs say nothing. A row lost if its
share fell by more than the tolerance, if its answer became wrong, or if another limit now bounds it and it fell against
every limit that both runs have. Exits with 1 if a row lost, with 2 if the runs cannot be compared.
"""
import argparse
import json
import pathlib
import sys

import report


def ratio_of(old, new):
    """(limit, new share / old share), None where the rows have no limit in common."""
    limit = old["label"].get("limit")
    if limit == new["label"].get("limit") and old.get("share", 0) > 0 and "share" in new:
        return limit, new["share"] / old["share"]
    both = [key for key in old if key.startswith("of_") and old[key] > 0 and key in new]
    return max(((key[3:], new[key] / old[key]) for key in both), key=lambda pair: pair[1], default=None)


def compare(old, new, tolerance):
    """(lost, text of each, how many rows were compared) of two JSON results."""
    before = {row["name"]: row for row in report.rows_of(old)}
    lost, count = [], 0
    for row in report.rows_of(new):
        was = before.get(row["name"])
        if was is None or was["error"]:
            continue
        count += 1
        if row["error"]:
            lost.append(f"{row['name']}: {row['error']}")
            continue
        ratio = ratio_of(was, row)
        if ratio is not None and ratio[1] < 1 - tolerance:
            lost.append(f"{row['name']}: {ratio[1]:.2f} of what it was, as a share of {ratio[0]} "
                        f"(spread {was.get('spread', 0) * 100:.0f} %, now {row.get('spread', 0) * 100:.0f} %)")
    return lost, count


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("old", type=pathlib.Path)
    parser.add_argument("new", type=pathlib.Path)
    parser.add_argument("--tolerance", type=float, default=0.1)
    args = parser.parse_args()
    old, new = (json.loads(path.read_text()) for path in (args.old, args.new))
    for key in ("cpu_model", "target"):
        was, now = old["context"].get(key), new["context"].get(key)
        if was != now:
            print(f"compare: {key} is {now} in {args.new}, {was} in {args.old}: not comparable", file=sys.stderr)
            sys.exit(2)
    lost, count = compare(old, new, args.tolerance)
    print("\n".join([*lost, f"{len(lost)} of {count} rows lost more than {args.tolerance * 100:g} %"]))
    if count == 0:
        print("compare: the files have no row in common", file=sys.stderr)
        sys.exit(2)
    if lost:
        sys.exit(1)


if __name__ == "__main__":
    main()
