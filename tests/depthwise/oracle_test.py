"""Depthwise convolution against SciPy, which shares nothing with lutra: oracle_test.py COMMAND... (oracle_run)."""
import os
import subprocess
import sys

try:
    import numpy as np
    import scipy.ndimage
    import scipy.signal
except ImportError as missing:
    DEBIAN = "/usr/bin/python3"  # packages of Debian are for this one; another may come first
    if sys.executable != DEBIAN and os.access(DEBIAN, os.X_OK):
        os.execv(DEBIAN, [DEBIAN, *sys.argv])
    print(f"skipped: {missing}; the Debian package is python3-scipy, tools/setup ci installs it")
    sys.exit(77)

CASES = 400
PADS = ("constant", "wrap", "reflect", "edge")  # numpy.pad's names for Pad
EPS = 2.0**-24


def line(rng, size, k, dil, pad):
    """Padding before and after, None where it is "same"; or False where there is no such plan."""
    span = dil * (k - 1) + 1
    if rng.random() < 0.5:
        before, after = (span - 1) // 2, span - 1 - (span - 1) // 2
        explicit = False
    else:
        before, after = (int(v) for v in rng.integers(0, span + 2, 2))
        explicit = True
    if size + before + after < span or (PADS[pad] == "reflect" and max(before, after) >= size):
        return False
    return before, after, explicit


def draw(rng):
    while True:
        large, plain = rng.random() < 0.15, rng.random() < 0.4  # plain: what transforms can take
        h, w = (int(v) for v in rng.integers(1, 31 if large else 41, 2))
        kh, kw = (int(v) for v in (rng.integers(1, 60, 2) if large else rng.choice([1, 2, 3, 4, 5, 7, 9, 11], 2)))
        steps = [int(v) for v in rng.choice([1, 1, 2, 3], 4)] if not plain else [1, 1, 1, 1]
        pad = 0 if plain else int(rng.choice([0, 1, 2, 3]))
        vertical, horizontal = line(rng, h, kh, steps[2], pad), line(rng, w, kw, steps[3], pad)
        if not vertical or not horizontal:
            continue
        return {"n": int(rng.integers(1, 3)), "h": h, "w": w, "c": int(rng.integers(1, 4 if large else 21)), "kh": kh,
                "kw": kw, "steps": steps, "vertical": vertical, "horizontal": horizontal, "pad": pad,
                "reweight": int(pad == 0 and rng.random() < 0.4), "layout": 0 if plain else int(rng.integers(0, 2)),
                "algo": int(rng.choice([0, 0, 0, 1]))}


def correlate(images, taps, case):
    """One channel in double: [n, h, w] by [kh, kw], before strides."""
    dil_h, dil_w = case["steps"][2:]
    spread = np.zeros((dil_h * (case["kh"] - 1) + 1, dil_w * (case["kw"] - 1) + 1))
    spread[::dil_h, ::dil_w] = taps
    sides = (case["vertical"], case["horizontal"])
    if not any(explicit for _, _, explicit in sides):  # SciPy's own borders; an even kernel's middle moves by origin
        mode = {"constant": "constant", "wrap": "wrap", "reflect": "mirror", "edge": "nearest"}[PADS[case["pad"]]]
        origin = [-(1 - size % 2) for size in spread.shape]
        return np.stack([scipy.ndimage.correlate(image, spread, mode=mode, origin=origin) for image in images])
    if PADS[case["pad"]] == "wrap":  # numpy.pad before 1.25 loses step where it goes round more than once
        rows, cols = (np.arange(-side[0], size + side[1]) % size for side, size in zip(sides, images.shape[1:]))
        padded = images[:, rows[:, None], cols]
    else:
        padded = np.pad(images, ((0, 0), *(side[:2] for side in sides)), mode=PADS[case["pad"]])
    return np.stack([scipy.signal.correlate(image, spread, mode="valid", method="direct") for image in padded])


def exact(case, taps, images):
    """[n, c, out_h, out_w]: sums with strides and re-weighting, and by how much each may be off."""
    stride_h, stride_w = case["steps"][:2]
    sums, bounds = [], []
    for channel in range(case["c"]):
        t, x = taps[channel], images[:, channel]
        cut = (slice(None), slice(None, None, stride_h), slice(None, None, stride_w))
        total, size = correlate(x, t, case)[cut], correlate(abs(x), abs(t), case)[cut]
        passes = case["kh"] + case["kw"] + 8 if case["algo_run"] == 3 else t.size  # two bands, or direct
        bound = (passes + 4) * EPS * size
        if case["algo_run"] == 2:  # transforms: the errors of a channel are of one size
            norms = np.sqrt((x**2).sum(axis=(1, 2)))[:, None, None] * np.sqrt((t**2).sum())
            bound = np.maximum(bound, 1e-6 * norms)
        if case["reweight"]:
            inside = np.rint(correlate(np.ones_like(x), np.ones_like(t), case)[cut])
            factor = np.divide(t.size, inside, out=np.zeros_like(inside), where=inside > 0)
            total, bound = total * factor, bound * factor
        sums.append(total)
        bounds.append(bound)
    return np.stack(sums, axis=1), np.stack(bounds, axis=1)


def to_layout(case, values):
    return np.ascontiguousarray(values.transpose(0, 2, 3, 1) if case["layout"] == 0 else values)


def main():
    rng = np.random.default_rng(1)
    cases, asked = [], []
    for _ in range(CASES):
        case = draw(rng)
        taps = rng.uniform(-1, 1, (case["c"], case["kh"], case["kw"])).astype(np.float32)
        if rng.random() < 0.35:  # of rank one
            taps = taps[:, :1, :] * rng.uniform(-1, 1, (case["c"], case["kh"], 1)).astype(np.float32)
        bias = rng.uniform(-1, 1, case["c"]).astype(np.float32)
        images = rng.uniform(-1, 1, (case["n"], case["c"], case["h"], case["w"])).astype(np.float32)
        cases.append((case, taps, bias, images))
        (top, bottom, own_h), (left, right, own_w) = case["vertical"], case["horizontal"]
        padding = [top if own_h else -1, left if own_w else -1, bottom if own_h else -1, right if own_w else -1]
        numbers = [case[name] for name in ("n", "h", "w", "c", "kh", "kw")] + case["steps"] + padding
        numbers += [case["pad"], case["reweight"], case["layout"], case["algo"]]
        asked.append((" ".join(map(str, numbers)) + "\n").encode())
        asked += [taps.tobytes(), bias.tobytes(), to_layout(case, images).tobytes()]
    got = subprocess.run(sys.argv[1:], input=b"".join(asked), stdout=subprocess.PIPE, check=True).stdout

    names = {1: "direct", 2: "fft", 3: "separable"}
    ran, wrong = {name: [0, 0.0] for name in names.values()}, 0
    for number, (case, taps, bias, images) in enumerate(cases):
        end = got.index(b"\n")
        out_h, out_w, case["algo_run"] = (int(v) for v in got[:end].split())
        shape = (case["n"], out_h, out_w, case["c"]) if case["layout"] == 0 else (case["n"], case["c"], out_h, out_w)
        size = 4 * int(np.prod(shape))
        out = np.frombuffer(got[end + 1:end + 1 + size], dtype=np.float32).reshape(shape)
        got = got[end + 1 + size:]
        out = (out.transpose(0, 3, 1, 2) if case["layout"] == 0 else out).astype(np.float64)
        sums, bounds = exact(case, taps.astype(np.float64), images.astype(np.float64))
        want = sums + bias.astype(np.float64)[None, :, None, None]
        if out.shape != want.shape:
            print(f"case {number}: {out.shape} instead of {want.shape}: {case}")
            wrong += 1
            continue
        share = abs(out - want) / (bounds + EPS * (abs(sums) + abs(want)) + 1e-30)
        of = ran[names[case["algo_run"]]]
        of[0], of[1] = of[0] + 1, max(of[1], float(share.max()))
        if not share.max() <= 1:
            at = np.unravel_index(share.argmax(), share.shape)
            print(f"case {number}: {share.max():.3g} times its bound off at {at}: {case}")
            wrong += 1
    if got:
        print(f"{len(got)} bytes left over")
        wrong += 1
    for name, (count, worst) in ran.items():
        print(f"{name}: {count} cases, largest error {worst:.2f} of its bound")
    print(f"{len(cases)} cases, {wrong} wrong")
    return wrong != 0


sys.exit(main())
