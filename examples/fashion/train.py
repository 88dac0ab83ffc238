#!/usr/bin/python3
"""Train the small Fashion-MNIST network that the example program beside this script runs.

The network mixes space with depthwise convolutions (an Inception mixer of 3x3, 1x11 and 11x1
branches at 14x14, then full 13x13 and 7x7 kernels at 7x7) and mixes channels with BitLinear
layers, as in BitNet b1.58: weights in {-1, 0, 1} times one scale per layer, activations of
8 bits with one scale per pixel.

    python3 train.py                           both nets side by side, then fashion.safetensors
    python3 train.py --minutes 60              the same in an hour, whatever the epochs reached
    python3 train.py --linear float --out F    only the net with ordinary Linear layers
    python3 train.py --epochs 1 --limit 2000 --out F    a smoke test

Without --out the trained weights beside this script are replaced.

Needs, on Debian 12:

    apt-get install --no-install-recommends python3-torch libopenblas0-pthread dataset-fashion-mnist

The file beside this script reached 92.58 % of the 10,000 test pictures with ordinary Linear layers
(15.8 epochs) and 91.81 % with ternary ones (14.3 epochs): 182,138 parameters, the final weights, no
choice of the best epoch. It came from `--epochs 36 --minutes 71` on two cores that were busy with
other work: the rate followed the clock. On two free cores an epoch of both nets takes about 100 s,
so the default of 15 epochs some 25 minutes. The rate makes one whole cycle in whatever time there is.
Where the clock steers, no two runs are alike; without --minutes they should be, on one machine.

How it is fast: activations are kept as [channels, batch * height * width], so that every linear
layer is one matrix product without a transpose and the BatchNorm reductions run along contiguous
rows; a depthwise convolution of so small a picture is one product per channel with the Toeplitz
matrix of its taps. The weights stay ordinary convolution taps, and `reference_forward` runs the
same net through plain conv2d and the textbook BitLinear: that is what the stored predictions and
the printed accuracies come from.
"""

import argparse
import gzip
import json
import os
import struct
import subprocess
import sys
import time

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

MEAN, STD, EPS = 0.2860, 0.3530, 1e-5
STEM, DOWN = 14, 7  # side of the picture in stage 1 and in stage 2


# ---------------------------------------------------------------- data

def read_idx(folder, name):
    with gzip.open(os.path.join(folder, name + ".gz")) as f:
        data = f.read()
    rank = data[3]
    shape = struct.unpack(">%dI" % rank, data[4 : 4 + 4 * rank])
    return torch.from_numpy(np.frombuffer(data, np.uint8, offset=4 + 4 * rank).reshape(shape).copy())


def load(folder, part):
    images = read_idx(folder, part + "-images-idx3-ubyte")
    return images, read_idx(folder, part + "-labels-idx1-ubyte").long()


def normalise(images):
    return (images.float() / 255 - MEAN) / STD


def augment(padded, rows, erase):
    """Per picture: a shift by up to 2 pixels, a flip, and a rectangle of random grey.

    padded is [N, 32, 32], the pictures with a frame of 2 black pixels.
    """
    b = len(rows)
    side = torch.arange(28)
    dy, dx = torch.randint(0, 5, (2, b, 1))
    xs = torch.where(torch.rand(b, 1) < 0.5, 27 - side, side)
    index = (rows[:, None, None] * 32 + (dy + side)[:, :, None]) * 32 + (dx + xs)[:, None, :]
    x = padded.view(-1)[index].float()
    if erase > 0:
        hit = torch.rand(b, 1) < erase
        size = torch.randint(4, 15, (2, b, 1))
        corner = (torch.rand(2, b, 1) * (29 - size)).long()
        inside = (side >= corner) & (side < corner + size)
        mask = (inside[0] & hit)[:, :, None] & inside[1][:, None, :]
        x = torch.where(mask, torch.rand(b, 1, 1) * 255, x)
    return normalise(x)


# ---------------------------------------------------------------- BitLinear

def ternary(w):
    """The scale and the codes in {-1, 0, 1} of a weight matrix (round half to even)."""
    g = w.double().abs().mean().float().clamp(min=1e-5)
    return g, (w / g).round().clamp(-1, 1)


def quantise(x, dim):
    """The 8-bit activations of BitNet b1.58, as floats, one scale for every vector along dim."""
    s = 127 / x.abs().amax(dim, keepdim=True).clamp(min=1e-5)
    return (x * s).round().clamp(-128, 127) / s


class TernaryProduct(torch.autograd.Function):
    """quantise(x) times the ternary w; both roundings pass gradients straight through."""

    @staticmethod
    def forward(ctx, w, x):
        g, codes = ternary(w)
        wq = codes * g
        s = 127 / x.abs().amax(0, keepdim=True).clamp(min=1e-5)
        xq = (x * s).round_().mul_(1 / s)  # |x * s| cannot pass 127: nothing to clamp
        ctx.save_for_backward(wq, xq)
        return wq @ xq

    @staticmethod
    def backward(ctx, gy):
        wq, xq = ctx.saved_tensors
        return gy @ xq.t(), wq.t() @ gy


class BitLinear(nn.Linear):
    """A Linear over the first dimension of [in, n]."""

    def __init__(self, fan_in, fan_out, kind):
        super().__init__(fan_in, fan_out)
        self.kind = kind

    def forward(self, x):
        y = TernaryProduct.apply(self.weight, x) if self.kind == "ternary" else self.weight @ x
        return y + self.bias[:, None]

    def reference(self, x):
        """The same over the last dimension."""
        if self.kind == "float":
            return F.linear(x, self.weight, self.bias)
        g, codes = ternary(self.weight)
        return F.linear(quantise(x, -1), codes * g, self.bias)


# ---------------------------------------------------------------- convolutions

def toeplitz_selector(kh, kw, side):
    """S [kh * kw, side^2 * side^2] of zeros and ones: taps [c, kh * kw] @ S is, for every channel,
    the [input pixel, output pixel] matrix of the 'same' convolution."""
    p = torch.arange(side)
    dy = p[:, None] - p[None, :] + kh // 2  # [input, output]: the tap that joins them
    dx = p[:, None] - p[None, :] + kw // 2
    tap = dy[:, None, :, None] * kw + dx[None, :, None, :]
    outside_y, outside_x = (dy < 0) | (dy >= kh), (dx < 0) | (dx >= kw)
    tap = tap.masked_fill(outside_y[:, None, :, None] | outside_x[None, :, None, :], -1)
    return (tap.reshape(1, -1) == torch.arange(kh * kw)[:, None]).float()


class BatchNorm(nn.BatchNorm1d):
    """Over [c, n]."""

    def forward(self, x):
        return super().forward(x[None])[0]

    def reference(self, x):
        return F.batch_norm(x, self.running_mean, self.running_var, self.weight, self.bias, eps=self.eps)


class DepthwiseConv(nn.Module):
    """A depthwise convolution without bias of pictures of side x side; the BatchNorm after it."""

    def __init__(self, channels, kh, kw, side):
        super().__init__()
        self.weight = nn.Parameter(torch.empty(channels, 1, kh, kw).uniform_(-1, 1) * (kh * kw) ** -0.5)
        self.bn = BatchNorm(channels, eps=EPS)
        self.side = side
        self.register_buffer("selector", toeplitz_selector(kh, kw, side), persistent=False)

    def matrices(self):
        return (self.weight.flatten(1) @ self.selector).view(-1, self.side**2, self.side**2)

    def reference(self, x):
        kh, kw = self.weight.shape[2:]
        return self.bn.reference(F.conv2d(x, self.weight, padding=(kh // 2, kw // 2), groups=len(x[0])))


def depthwise(x, matrices):
    return torch.bmm(x.view(len(x), -1, matrices.shape[1]), matrices).view(len(x), -1)


class FullMixer(nn.Module):
    """Every channel through one large kernel."""

    def __init__(self, channels, k):
        super().__init__()
        self.conv = DepthwiseConv(channels, k, k, DOWN)

    def forward(self, x):
        return self.conv.bn(depthwise(x, self.conv.matrices()))

    def reference(self, x):
        return self.conv.reference(x)


class InceptionMixer(nn.Module):
    """Channels split into [untouched | 3x3 | 1xk | kx1], the last three of `branch` channels each."""

    def __init__(self, channels, branch, k):
        super().__init__()
        self.split = [channels - 3 * branch, branch, branch, branch]
        self.conv3x3 = DepthwiseConv(branch, 3, 3, STEM)
        self.conv1xk = DepthwiseConv(branch, 1, k, STEM)
        self.convkx1 = DepthwiseConv(branch, k, 1, STEM)

    def convs(self):
        return self.conv3x3, self.conv1xk, self.convkx1

    def forward(self, x):
        y = depthwise(x[self.split[0] :], torch.cat([c.matrices() for c in self.convs()]))
        y = [c.bn(part) for c, part in zip(self.convs(), y.split(self.split[1:]))]
        return torch.cat([x[: self.split[0]]] + y)

    def reference(self, x):
        parts = x.split(self.split, 1)
        return torch.cat([parts[0]] + [c.reference(part) for c, part in zip(self.convs(), parts[1:])], 1)


# ---------------------------------------------------------------- the network

class Block(nn.Module):
    def __init__(self, channels, expand, mixer, kind):
        super().__init__()
        self.mixer = mixer
        self.fc1 = BitLinear(channels, expand * channels, kind)
        self.fc2 = BitLinear(expand * channels, channels, kind)
        self.gamma = nn.Parameter(torch.full((channels,), 0.5))

    def forward(self, x):
        return x + self.gamma[:, None] * self.fc2(self.fc1(self.mixer(x)).relu_())

    def reference(self, x):  # [b, c, h, w]
        y = self.mixer.reference(x).permute(0, 2, 3, 1)
        y = self.gamma * self.fc2.reference(self.fc1.reference(y).relu())
        return x + y.permute(0, 3, 1, 2)


class Net(nn.Module):
    def __init__(self, kind, channels=48, channels2=96, branch=8, expand=3):
        super().__init__()
        self.stem = nn.Conv2d(1, channels, 4, stride=2, padding=1, bias=False)
        self.stem_bn = BatchNorm(channels, eps=EPS)
        self.stage1 = nn.ModuleList(
            Block(channels, expand, InceptionMixer(channels, branch, 11), kind) for _ in range(2))
        self.down = BitLinear(4 * channels, channels2, kind)
        self.stage2 = nn.ModuleList(
            Block(channels2, expand, FullMixer(channels2, k), kind) for k in (13, 7))
        self.norm = nn.LayerNorm(channels2, eps=EPS)
        self.head = BitLinear(channels2, 10, kind)

    def forward(self, images):
        """[b, 28, 28] -> [b, 10], the fast way."""
        b = len(images)
        patches = F.pad(images, (1, 1, 1, 1)).unfold(1, 4, 2).unfold(2, 4, 2)
        x = self.stem.weight.flatten(1) @ patches.permute(3, 4, 0, 1, 2).reshape(16, -1)
        x = self.stem_bn(x)
        for block in self.stage1:
            x = block(x)
        x = x.view(-1, b, DOWN, 2, DOWN, 2).permute(3, 5, 0, 1, 2, 4)  # dy, dx, c, b, y, x
        x = self.down(x.reshape(-1, b * DOWN * DOWN))
        for block in self.stage2:
            x = block(x)
        x = self.norm(x.view(-1, b, DOWN * DOWN).mean(2).t())
        return self.head(x.t()).t()

    def reference_forward(self, images):
        """The same, in eval mode, with plain convolutions of [b, c, h, w]."""
        b = len(images)
        x = self.stem_bn.reference(self.stem(images[:, None]))
        for block in self.stage1:
            x = block.reference(x)
        x = x.view(b, -1, DOWN, 2, DOWN, 2).permute(0, 2, 4, 3, 5, 1)  # b, y, x, dy, dx, c
        x = self.down.reference(x.reshape(b, DOWN, DOWN, -1)).permute(0, 3, 1, 2)
        for block in self.stage2:
            x = block.reference(x)
        return self.head.reference(self.norm(x.mean((2, 3))))


# ---------------------------------------------------------------- safetensors

def named_tensors(net):
    """The weights under the names the C++ program asks for."""
    out = {}

    def put_bn(name, bn):
        out[name + ".bn.weight"], out[name + ".bn.bias"] = bn.weight, bn.bias
        out[name + ".bn.mean"], out[name + ".bn.var"] = bn.running_mean, bn.running_var

    def put_linear(name, linear):
        out[name + ".weight"], out[name + ".bias"] = linear.weight, linear.bias

    out["stem.weight"] = net.stem.weight
    put_bn("stem", net.stem_bn)
    for stage, blocks in (("stage1", net.stage1), ("stage2", net.stage2)):
        for i, block in enumerate(blocks):
            prefix = "%s.%d." % (stage, i)
            for name, conv in block.mixer.named_children():
                out[prefix + name + ".weight"] = conv.weight
                put_bn(prefix + name, conv.bn)
            put_linear(prefix + "fc1", block.fc1)
            put_linear(prefix + "fc2", block.fc2)
            out[prefix + "gamma"] = block.gamma
    put_linear("down", net.down)
    put_linear("head.norm", net.norm)
    put_linear("head", net.head)
    return {name: tensor.detach().numpy() for name, tensor in out.items()}


def write_safetensors(path, tensors, metadata):
    header, chunks, offset = {"__metadata__": metadata}, [], 0
    types = {"float32": "F32", "uint8": "U8"}
    # The widest type first keeps every tensor aligned.
    for name, a in sorted(tensors.items(), key=lambda item: -item[1].itemsize):
        chunks.append(np.ascontiguousarray(a).tobytes())
        header[name] = {"dtype": types[a.dtype.name], "shape": list(a.shape),
                        "data_offsets": [offset, offset + len(chunks[-1])]}
        offset += len(chunks[-1])
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path + ".part", "wb") as f:
        f.write(struct.pack("<Q", len(text)) + text + b"".join(chunks))
    os.replace(path + ".part", path)


def read_safetensors(path):
    """Metadata and tensors of a file that write_safetensors made."""
    with open(path, "rb") as f:
        header = json.loads(f.read(struct.unpack("<Q", f.read(8))[0]))
        data = f.read()
    metadata = header.pop("__metadata__")
    types = {"F32": np.float32, "U8": np.uint8}
    return metadata, {
        name: np.frombuffer(data[slice(*h["data_offsets"])], types[h["dtype"]]).reshape(h["shape"])
        for name, h in header.items()}


def save(path, net, images, labels, metadata):
    """Evaluate through the plain convolutions, then write everything. Returns the accuracy in %."""
    net.eval()
    with torch.no_grad():
        logits = torch.cat([net.reference_forward(normalise(part)) for part in images.split(250)])
    predictions = logits.argmax(1)
    accuracy = (predictions == labels).float().mean().item() * 100
    tensors = named_tensors(net)
    tensors["test.predictions"] = predictions.to(torch.uint8).numpy()
    tensors["test.logits"] = logits[:100].numpy()
    metadata[net.head.kind + "_accuracy"] = "%.2f" % accuracy
    write_safetensors(path, tensors, metadata)
    return accuracy


# ---------------------------------------------------------------- training

def rate(progress, peak):
    """One cycle: up in the first 10 %, then a cosine down to nothing."""
    if progress < 0.1:
        return peak * (0.05 + 0.95 * progress / 0.1)
    return peak * 0.5 * (1 + np.cos(np.pi * min(1.0, (progress - 0.1) / 0.9)))


def train(kind, args):
    torch.manual_seed(args.seed)
    torch.set_num_threads(1)
    images, labels = load(args.data, "train")
    test_images, test_labels = load(args.data, "t10k")
    if args.limit:
        images, labels = images[: args.limit], labels[: args.limit]
    padded = F.pad(images, (2, 2, 2, 2)).contiguous()

    net = Net(kind)
    parameters = sum(p.numel() for p in net.parameters())
    decayed = [p for p in net.parameters() if p.dim() > 1]
    others = [p for p in net.parameters() if p.dim() == 1]
    optimizer = torch.optim.AdamW(
        [{"params": decayed, "weight_decay": args.decay}, {"params": others, "weight_decay": 0.0}], foreach=True)
    print("%s: %d parameters" % (kind, parameters), flush=True)

    def write(epochs):
        metadata = {"float_accuracy": "unknown", "ternary_accuracy": "unknown", "epochs": epochs,
                    "activation": "relu", "parameters": str(parameters)}
        return save(args.out, net, test_images, test_labels, metadata)

    per_epoch = len(images) // args.batch
    total, done, start = args.epochs * per_epoch, 0, time.time()
    for epoch in range(1, args.epochs + 1):
        net.train()
        order, losses = torch.randperm(len(images)), []
        for rows in order[: per_epoch * args.batch].split(args.batch):
            # With --minutes the rate follows the clock if that is ahead of the epochs.
            progress = done / total
            if args.minutes:
                progress = max(progress, (time.time() - start) / (60 * args.minutes))
            if progress >= 1:
                break
            for group in optimizer.param_groups:
                group["lr"] = rate(progress, args.rate)
            loss = F.cross_entropy(net(augment(padded, rows, args.erase)), labels[rows], label_smoothing=0.1)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            done += 1
            losses.append(loss.item())
        stop = progress >= 1 or epoch == args.epochs
        line = "%s: epoch %d, loss %.4f" % (kind, epoch, np.mean(losses))
        if stop or epoch % 5 == 1:
            line += ", test accuracy %.2f %%" % write("%.1f" % (done / per_epoch))
        print(line + ", %.0f s" % (time.time() - start), flush=True)
        if stop:
            break


def main():
    here = os.path.dirname(os.path.abspath(__file__))
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--linear", choices=["float", "ternary", "both"], default="both")
    parser.add_argument("--epochs", type=int, default=15)
    parser.add_argument("--minutes", type=float,
                        help="stop after so many minutes, having brought the learning rate down to zero by then")
    parser.add_argument("--limit", type=int, help="train on only the first so many pictures")
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--rate", type=float, default=3e-3, help="the highest learning rate")
    parser.add_argument("--decay", type=float, default=0.05, help="weight decay")
    parser.add_argument("--erase", type=float, default=0.3, help="probability of erasing a rectangle")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--data", default="/usr/share/datasets/fashion-mnist", help="folder of the four .gz files")
    parser.add_argument("--out", default=os.path.join(here, "fashion.safetensors"))
    args = parser.parse_args()

    if args.linear != "both":
        train(args.linear, args)
        return

    # One process and one thread for each net. With the two settings the allocator keeps the memory
    # of freed tensors; otherwise every step has some ten thousand page faults.
    env = dict(os.environ, OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1",
               MALLOC_MMAP_THRESHOLD_=str(2**25), MALLOC_TRIM_THRESHOLD_=str(2**32))
    files = {"float": args.out + ".float", "ternary": args.out}
    command = [sys.executable, os.path.abspath(__file__)] + sys.argv[1:]
    children = [subprocess.Popen(command + ["--linear", kind, "--out", path], env=env) for kind, path in files.items()]
    if any([child.wait() for child in children]):
        sys.exit("a training process failed")
    accuracy = read_safetensors(files["float"])[0]["float_accuracy"]
    metadata, tensors = read_safetensors(files["ternary"])
    metadata["float_accuracy"] = accuracy
    write_safetensors(args.out, tensors, metadata)
    os.remove(files["float"])
    print("test accuracy: float %s %%, ternary %s %%" % (accuracy, metadata["ternary_accuracy"]))


if __name__ == "__main__":
    main()
