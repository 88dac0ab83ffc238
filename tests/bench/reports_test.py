"""The scripts of bench/ on small results: no bench runs, nothing is timed."""
import json
import pathlib
import subprocess
import sys
import tempfile
import unittest
import xml.etree.ElementTree

BENCH = pathlib.Path(__file__).resolve().parents[2] / "bench"
sys.dont_write_bytecode = True
sys.path.insert(0, str(BENCH))
import choose  # noqa: E402
import compare  # noqa: E402
import curves  # noqa: E402
import errors  # noqa: E402
import figures  # noqa: E402
import report  # noqa: E402


def row(name, share=0.5, limit="dot", **more):
    return {"name": name + report.SUFFIX, "real_time": 10.0, "time_unit": "us", "label": f"limit={limit} target=AVX2",
            "spread": 0.01, "gmacs": 100.0, "limit": 200.0, "share": share, f"of_{limit}": share, **more}


def result(*rows, **context):
    return {"context": {"cpu_model": "A CPU", "target": "AVX2", **context}, "benchmarks": list(rows)}


class Compare(unittest.TestCase):
    def lost(self, old, new, tolerance=0.1):
        return compare.compare(result(*old), result(*new), tolerance)

    def test_a_share_that_fell_is_a_loss_and_a_rate_that_fell_is_none(self):
        lost, count = self.lost([row("a", 0.8), row("b", 0.8)], [row("a", 0.79, gmacs=10.0), row("b", 0.6)])
        self.assertEqual(count, 2)
        self.assertEqual(len(lost), 1)
        self.assertTrue(lost[0].startswith("b: 0.75 of what it was"), lost)

    def test_the_tolerance_counts(self):
        self.assertEqual(self.lost([row("a", 0.8)], [row("a", 0.7)], 0.2)[0], [])

    def test_rows_that_only_one_file_has_do_not_count(self):
        self.assertEqual(self.lost([row("a")], [row("b", 0.1)]), ([], 0))

    def test_a_row_that_became_wrong_is_a_loss(self):
        wrong = row("a", error_occurred=True, error_message="WRONG: y")
        self.assertEqual(self.lost([row("a")], [wrong])[0], ["a: WRONG: y"])

    def test_another_limit_is_judged_by_the_common_ones(self):
        old, new = row("a", 0.5, "dram", of_dot=0.4), row("a", 0.4, "dot")
        self.assertEqual(self.lost([old], [new])[0], [])
        self.assertEqual(len(self.lost([old], [row("a", 0.2, "dot")])[0]), 1)

    def run_on(self, old, new):
        with tempfile.TemporaryDirectory() as folder:
            paths = [pathlib.Path(folder, name) for name in ("old.json", "new.json")]
            for path, content in zip(paths, (old, new)):
                path.write_text(json.dumps(content))
            return subprocess.run([sys.executable, str(BENCH / "compare.py"), *map(str, paths)],
                                  capture_output=True, text=True).returncode

    def test_exit_codes(self):
        self.assertEqual(self.run_on(result(row("a")), result(row("a"))), 0)
        self.assertEqual(self.run_on(result(row("a")), result(row("a", 0.1))), 1)
        self.assertEqual(self.run_on(result(row("a")), result(row("a"), target="AVX3")), 2)
        self.assertEqual(self.run_on(result(row("a")), result(row("b"))), 2)


class Choose(unittest.TestCase):
    def found(self, *runs):
        rows = choose.worst_of([report.rows_of(result(*run)) for run in runs])
        return [(r["name"], algo) for r, algo, _ in choose.better(rows, 0.05)]

    def test_a_faster_algorithm_is_found(self):
        self.assertEqual(self.found([row("a", vs_tile=0.9, vs_int_dot=0.96), row("b", vs_tile=1.2)]), [("a", "tile")])

    def test_every_run_must_agree(self):
        self.assertEqual(self.found([row("a", vs_tile=0.9)], [row("a", vs_tile=0.97)]), [])
        self.assertEqual(self.found([row("a", vs_tile=0.9)], [row("a")]), [])
        self.assertEqual(self.found([row("a", vs_tile=0.9)], [row("a", vs_tile=0.94)]), [("a", "tile")])


class Errors(unittest.TestCase):
    ROWS = ({"name": "errors/constant/ternary/256x4096/M:8/cache/threads:1", "error_lutra": 1e-7, "error_ggml": 0.5},
            {"name": "errors/normal/int4_g32/256x6912/M:8/cache/threads:1", "error_lutra": 0.0123})

    def test_each_peer_has_a_column_and_each_input_a_row(self):
        self.assertEqual(errors.table(report.rows_of({"benchmarks": self.ROWS})), [
            "| case | lutra | ggml |", "|---|---|---|",
            "| ternary, K = 4096, constant | 1e-07 | 0.5 |", "| int4_g32, K = 6912, normal | 0.012 | - |"])

    def test_a_wrong_row_says_so(self):
        wrong = {**self.ROWS[0], "error_occurred": True, "error_message": "WRONG: y"}
        self.assertIn("WRONG: y", errors.table(report.rows_of({"benchmarks": [wrong]}))[2])


class Figures(unittest.TestCase):
    PROBE = "pair 180.0 (360.0) GMAC/s, dot 236.2 (469.2) GMAC/s, fma 59.0 (117.1) GMAC/s, dram 32.1 (37.2) GB/s, l2 118.0 (2.0) GB/s"
    ROWS = (row("int_dot/ternary/2560x2560/M:1/cache/threads:1", bits=2.0, vs_ggml=2.0),
            row("int_dot/ternary/2560x2560/M:1/dram/threads:1", 0.9, "dram", bits=2.0),
            row("int_dot/ternary/2560x2560/M:1/cache/threads:all", bits=2.0))

    def test_points_are_ours_and_the_peers_on_one_thread(self):
        points = figures.points_of(report.rows_of(result(*self.ROWS)))
        self.assertEqual(points, [("ternary", "lutra", 1, False, 2.0, 100.0), ("ternary", "ggml", 1, False, 2.0, 50.0),
                                  ("ternary", "lutra", 1, True, 2.0, 100.0)])

    def test_the_picture_is_xml_with_both_axes_the_cpu_and_every_limit(self):
        made = result(*self.ROWS, probe=self.PROBE)
        picture = figures.svg(made["context"], report.rows_of(made))
        words = ["".join(e.itertext()) for e in xml.etree.ElementTree.fromstring(picture).iter() if e.tag.endswith("text")]
        for wanted in ("A CPU; target AVX2; one thread", "GMAC/s", "bits per weight, scales included", "dot peak 236",
                       "pair peak 180", "DRAM read 32 GB/s", "L2 read 118 GB/s", "ggml", "ternary"):
            self.assertIn(wanted, words)

    def test_the_table_takes_its_place(self):
        made = figures.table([result(*self.ROWS)])
        self.assertIn("| ternary 2560 x 2560, M = 1, from DRAM | 100 GMAC/s | 90 % of DRAM read |", made)
        text = figures.replace_between("a\n<!-- figures -->\nold\n<!-- /figures -->\nb", "figures", "new")
        self.assertEqual(text, "a\n<!-- figures -->\nnew\n<!-- /figures -->\nb")
        self.assertRaises(ValueError, figures.replace_between, "a", "figures", "new")


class Curves(unittest.TestCase):
    ROWS = (row("curve/k/56x56x96/K:3/threads:1", limit="fma", vs_direct=1.0, vs_fft=2.0),
            row("curve/k/56x56x96/K:5/threads:1", limit="fma", vs_direct=1.1, vs_fft=1.5, vs_smaller=0.7, vs_onednn=3.0),
            row("curve/size/7x7x96/K:13/threads:1", limit="fma", vs_direct=2.0),
            row("curve/size/56x56x96/K:13/threads:1", limit="fma", vs_direct=2.0))

    def steps(self, *runs):
        rows = curves.choose.worst_of([report.rows_of(result(*run)) for run in runs])
        return [(r["name"], round(growth, 3)) for r, growth in curves.steps(rows, 1.4)]

    def test_times_are_ours_the_peers_and_the_limit(self):
        rows = report.rows_of(result(*self.ROWS))
        self.assertEqual(curves.curves_of(rows, "k"), {
            "lutra": [(3, 10.0), (5, 10.0)], "direct": [(3, 10.0), (5, 11.0)], "fft": [(3, 20.0), (5, 15.0)],
            "FMA peak": [(3, 5.0), (5, 5.0)], "onednn": [(5, 30.0)]})
        self.assertEqual(curves.curves_of(rows, "size")["direct"], [(7, 20.0), (56, 20.0)])
        self.assertIn("| 3 | 10 us | 10 us | 20 us | 5 us | - |", curves.markdown(rows))

    def test_a_row_is_as_the_fastest_run_has_it(self):
        slow, fast = row("a", vs_fft=1.0), row("a", vs_fft=2.0, real_time=8.0)
        runs = [report.rows_of(result(*rows)) for rows in ([slow], [fast, row("b")], [slow])]
        self.assertEqual([(r["name"], r["us"], r.get("vs_fft")) for r in curves.fastest(runs)],
                         [("a", 8.0, 2.0), ("b", 10.0, None)])

    def test_a_steep_step_is_found_where_every_run_has_it(self):
        name = "curve/k/56x56x96/K:5/threads:1"
        self.assertEqual(self.steps([row(name, vs_smaller=0.72)]), [])
        self.assertEqual(self.steps([row(name, vs_smaller=0.5)], [row(name, vs_smaller=0.625)]), [(name, 1.6)])
        self.assertEqual(self.steps([row(name, vs_smaller=0.5)], [row(name, vs_smaller=0.8)]), [])

    def test_the_picture_is_xml_with_both_plots_every_curve_and_the_cpu(self):
        made = result(*self.ROWS)
        picture = curves.svg(made["context"], report.rows_of(made))
        words = ["".join(e.itertext()) for e in xml.etree.ElementTree.fromstring(picture).iter() if e.tag.endswith("text")]
        for wanted in ("Time against K: 56 x 56 x 96", "Time against the image: 13 x 13, 96 channels", "us", "K (K x K taps)",
                       "lutra, kAuto", "lutra, kDirect", "lutra, kFft", "onednn", "FMA peak"):
            self.assertIn(wanted, words)
        self.assertRaises(ValueError, curves.svg, {}, [])


if __name__ == "__main__":
    unittest.main()
