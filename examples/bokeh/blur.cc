#include "blur.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cmath>
#include <numbers>
#include <stdexcept>
#include <thread>

namespace {

constexpr double kPi = std::numbers::pi;

// Whether (x, y) lies in a star of five points around the origin, one of them at (0, -radius).
bool InStar(double x, double y, double radius) {
  const double inner = radius * 0.45;
  double angle = std::fmod(std::atan2(x, -y) + 2 * kPi, 2 * kPi / 5);
  angle = std::min(angle, 2 * kPi / 5 - angle);  // from the nearest point of the star: 0 ... pi / 5
  const double length = std::hypot(x, y), along = length * std::cos(angle), across = length * std::sin(angle);
  const double edge_x = inner * std::cos(kPi / 5) - radius, edge_y = inner * std::sin(kPi / 5);
  return edge_x * across - edge_y * (along - radius) >= 0;
}

// How much light falls on the pixel at (x, y) from the middle.
double LightAt(Shape shape, double x, double y, double size, double angle) {
  switch (shape) {
    case Shape::kDisk:
      return std::clamp(size / 2 - std::hypot(x, y) + 0.5, 0.0, 1.0);
    case Shape::kStar: {
      constexpr int kSamples = 4;  // of each axis of a pixel
      int inside = 0;
      for (int i = 0; i < kSamples * kSamples; ++i) {
        const auto at = [](double centre, int sample) { return centre + (sample + 0.5) / kSamples - 0.5; };
        inside += InStar(at(x, i % kSamples), at(y, i / kSamples), size / 2) ? 1 : 0;
      }
      return static_cast<double>(inside) / (kSamples * kSamples);
    }
    case Shape::kMotion: {
      const double dx = std::cos(angle * kPi / 180), dy = -std::sin(angle * kPi / 180), half = (size - 1) / 2;
      const double along = std::clamp(x * dx + y * dy, -half, half);
      return std::clamp(1 - std::hypot(x - along * dx, y - along * dy), 0.0, 1.0);
    }
  }
  return 0;
}

lutra::DepthwiseKernel KernelOf(const Spot& spot) {
  // A convolution gathers: where the spot lies below a pixel, the pixel sees light from above.
  const std::vector<float> taps(spot.light.rbegin(), spot.light.rend());
  lutra::ConvGeometry geometry;
  geometry.pad = lutra::Pad::kReplicate;
  return lutra::DepthwiseKernel(lutra::Nchw(taps.data(), 1, 1, spot.size, spot.size), geometry);
}

// An executor whose threads live as long as one call, and which says how far it is.
struct Team {
  size_t threads;
  const Progress* progress;

  static void Run(const lutra::Executor& executor, size_t tasks, lutra::Executor::Task task, const void* job) {
    const Team& team = *static_cast<const Team*>(executor.self);
    std::atomic<size_t> next{0}, done{0};
    const auto work = [&](size_t worker) {
      for (size_t i; (i = next.fetch_add(1)) < tasks;) {
        task(job, i, worker);
        const size_t so_far = done.fetch_add(1) + 1;
        if (worker == 0) (*team.progress)(static_cast<double>(so_far) / static_cast<double>(tasks));
      }
    };
    std::vector<std::jthread> others;
    for (size_t i = 1; i < std::min(team.threads, tasks); ++i) others.emplace_back(work, i);
    work(0);
  }
};

}  // namespace

Spot MakeSpot(Shape shape, size_t size, double angle) {
  Spot spot{size, std::vector<float>(size * size)};
  std::vector<double> light(size * size);
  const double middle = static_cast<double>(size - 1) / 2;
  double sum = 0;
  for (size_t i = 0; i < light.size(); ++i) {
    const double x = static_cast<double>(i % size) - middle, y = static_cast<double>(i / size) - middle;
    sum += light[i] = LightAt(shape, x, y, static_cast<double>(size), angle);
  }
  for (size_t i = 0; i < light.size(); ++i) spot.light[i] = static_cast<float>(light[i] / sum);
  return spot;
}

// The colours are three images of one channel: they share the taps, and a vector holds tiles of all three.
Blur::Blur(const Spot& spot, size_t height, size_t width)
    : plan_(KernelOf(spot), height, width, lutra::Layout::kNchw) {}

void Blur::Run(const Picture& in, Picture& out, size_t threads, std::string_view target,
               const Progress& progress) const {
  Team team{threads, &progress};
  lutra::Context context({&team, threads, 0, &Team::Run}, plan_.scratch_per_worker());
  const lutra::Status status = lutra::ForceTarget(context, target);
  if (!status.ok()) throw std::runtime_error(status.message());
  lutra::DepthwiseConv2d(plan_, lutra::Nchw(in.planes.data(), 3, 1, in.height, in.width),
                         lutra::Nchw(out.planes.data(), 3, 1, in.height, in.width), context);
}

PlainRun RunPlainLoop(const Spot& spot, const Picture& in, const Picture& blurred) {
  const size_t size = spot.size, half = size / 2, padded = in.width + size - 1;
  std::vector<float> line(padded), sums(in.width);
  PlainRun run;
  const auto start = std::chrono::steady_clock::now();
  for (size_t y = in.height / 2; y < in.height && run.seconds < 0.5; ++y) {
    std::fill(sums.begin(), sums.end(), 0.0f);
    const float* const plane = in.planes.data() + in.height * in.width;  // green
    for (size_t ky = 0; ky < size; ++ky) {
      const size_t from = std::clamp(y + ky, half, half + in.height - 1) - half;
      for (size_t x = 0; x < padded; ++x) {
        line[x] = plane[from * in.width + std::clamp(x, half, half + in.width - 1) - half];
      }
      for (size_t kx = 0; kx < size; ++kx) {
        const float tap = spot.light[spot.light.size() - 1 - ky * size - kx];
        if (tap == 0) continue;
        for (size_t x = 0; x < in.width; ++x) sums[x] += tap * line[x + kx];  // compilers make vectors of it
      }
    }
    const float* const row = blurred.planes.data() + (in.height + y) * in.width;
    ++run.rows;
    run.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    for (size_t x = 0; x < in.width; ++x) {
      run.distance = std::max(run.distance, std::fabs(double{row[x]} - double{sums[x]}));
    }
  }
  return run;
}
