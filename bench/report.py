#!/usr/bin/env python3
"""Runs benches, or reads their JSON, prints the table as Markdown and draws the shares as bars in an SVG.

  bench/report.py --build build/release [--filter REGEX] [--svg FILE] [BENCH...]   runs bench_gemm, ... of a build
  bench/report.py --json FILE... [--svg FILE]                                      reads what --benchmark_out wrote
Flags after -- go to the benches: --target=AVX2, --rounds=41.
"""
import argparse
import html
import json
import pathlib
import subprocess
import sys
import tempfile

BENCHES = ("bench_gemm", "bench_depthwise", "bench_channel_split")
SUFFIX = "/iterations:1/manual_time"


def split_flags(arguments):
    """(a script's own arguments, the flags after -- that go to the benches)."""
    if "--" not in arguments:
        return arguments, []
    at = arguments.index("--")
    return arguments[:at], arguments[at + 1:]


def run_bench(program, pattern, flags=()):
    """The parsed JSON of one run of a bench program."""
    with tempfile.TemporaryDirectory() as folder:
        out = pathlib.Path(folder, "out.json")
        command = [str(program), f"--benchmark_out={out}", "--benchmark_out_format=json", *flags]
        if pattern:
            command.append(f"--benchmark_filter={pattern}")
        done = subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        for line in done.stderr.splitlines():
            if not line.startswith("Schema error"):  # Debian's ONNX Runtime says so hundreds of times when it loads
                print(line, file=sys.stderr)
        if done.returncode not in (0, 1):  # 1: a row is wrong, and says so
            sys.exit(f"{program} failed with {done.returncode}")
        text = out.read_text()
        return json.loads(text) if text.strip() else {"context": {}, "benchmarks": []}


def rows_of(result):
    """The rows of one JSON result, as dicts with name, label, error and the counters."""
    rows = []
    for b in result.get("benchmarks", []):
        row = dict(b)
        row["name"] = b["name"].removesuffix(SUFFIX)
        row["label"] = dict(part.split("=", 1) for part in b.get("label", "").split() if "=" in part)
        row["error"] = b.get("error_message", "") if b.get("error_occurred") or b.get("skipped") else ""
        row["us"] = b.get("real_time", 0.0) * {"ns": 1e-3, "us": 1.0, "ms": 1e3, "s": 1e6}[b.get("time_unit", "ns")]
        rows.append(row)
    return rows


def time_text(us):
    return f"{us / 1e3:.3g} ms" if us >= 1000 else f"{us:.3g} us"


def rate_text(row):
    parts = []
    if "gmacs" in row:
        parts.append(f"{row['gmacs']:.3g} GMAC/s" if row["gmacs"] < 1000 else f"{row['gmacs']:.0f} GMAC/s")
    if "gbs" in row:
        parts.append(f"{row['gbs']:.3g} GB/s")
    return ", ".join(parts)


def peers_of(row):
    return {key[3:]: value for key, value in row.items() if key.startswith("vs_")}


def machine_lines(context):
    for key, title in (("cpu_model", "CPU"), ("target", "Target"), ("built", "Built with"), ("probe", "Probe, one thread (all threads)")):
        if key in context:
            yield f"{title}: {context[key]}"


def markdown(context, rows):
    lines = [line + "  " for line in machine_lines(context)]
    peers = list(dict.fromkeys(p for row in rows for p in peers_of(row)))
    head = ["op", "time", "spread", "rate", "of its limit", *(f"vs {p}" for p in peers)]
    lines += ["", "| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    for row in rows:
        if row["error"]:
            lines.append(f"| {row['name']} | {row['error']} |" + " |" * (len(head) - 2))
            continue
        limit = f"{row['share'] * 100:.0f} % of {row['label'].get('limit', '?')} {row['limit']:.3g}" if "share" in row else ""
        ratios = [f"{peers_of(row)[p]:.2f}" if p in peers_of(row) else row["label"].get(p, "") for p in peers]
        cells = [row["name"], time_text(row["us"]), f"{row['spread'] * 100:.0f} %", rate_text(row), limit, *ratios]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def svg(context, rows):
    """One bar a row: the share of its limit, the limit is the line at 100 %."""
    rows = [row for row in rows if "share" in row and not row["error"]]
    left, width, step, top = 430, 420, 18, 40
    full = max([1.0, *(row["share"] for row in rows)]) * 1.08
    height = top + step * len(rows) + 12
    out = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{left + width + 120}" height="{height}" '
           'font-family="sans-serif" font-size="11">',
           f'<rect width="100%" height="100%" fill="white"/>',
           f'<text x="8" y="16" font-weight="bold">Share of the limit measured in the same run</text>',
           f'<text x="8" y="30">{html.escape(context.get("cpu_model", ""))}, {html.escape(context.get("target", ""))}</text>']
    for i, row in enumerate(rows):
        y, length = top + step * i, row["share"] / full * width
        label = f'{row["share"] * 100:.0f} % of {row["label"].get("limit", "")}'
        out.append(f'<text x="{left - 6}" y="{y + 12}" text-anchor="end">{html.escape(row["name"])}</text>'
                   f'<rect x="{left}" y="{y + 2}" width="{length:.1f}" height="{step - 5}" fill="#3b6ea5"/>'
                   f'<text x="{left + length + 4:.1f}" y="{y + 12}">{html.escape(label)}</text>')
    x = left + width / full
    out += [f'<line x1="{x:.1f}" y1="{top - 4}" x2="{x:.1f}" y2="{height - 6}" stroke="#b00" stroke-dasharray="4 3"/>', "</svg>"]
    return "\n".join(out) + "\n"


def main():
    own, flags = split_flags(sys.argv[1:])
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("benches", nargs="*", metavar="BENCH", help="programs of the build; all of them by default")
    parser.add_argument("--build", type=pathlib.Path, help="a build folder")
    parser.add_argument("--filter", default="", help="--benchmark_filter")
    parser.add_argument("--json", nargs="+", type=pathlib.Path, help="files instead of a run")
    parser.add_argument("--svg", type=pathlib.Path, help="where to draw the bars")
    args = parser.parse_args(own)
    if args.json:
        results = [json.loads(path.read_text()) for path in args.json]
    elif args.build:
        programs = [args.build / "bench" / name for name in args.benches or BENCHES]
        results = [run_bench(p, args.filter, flags) for p in programs if p.exists()]
    else:
        parser.error("one of --build and --json is needed")
    context = next((r["context"] for r in results if r["context"]), {})
    rows = [row for result in results for row in rows_of(result)]
    if not rows:
        sys.exit("report: no row matches")
    print(markdown(context, rows))
    if args.svg:
        args.svg.write_text(svg(context, rows))


if __name__ == "__main__":
    main()
