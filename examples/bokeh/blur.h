// What a point of light becomes behind a lens, and pictures seen through it.
#pragma once
#include <cstddef>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "lutra/lutra.h"
#include "picture.h"

enum class Shape { kDisk, kStar, kMotion };

// What a point of light looks like: size x size, its sum 1. angle: of a motion, in degrees from the right, upwards.
struct Spot {
  size_t size = 0;
  std::vector<float> light;
};
Spot MakeSpot(Shape shape, size_t size, double angle);

// Called from the thread that blurs, with what part of the work is done.
using Progress = std::function<void(double)>;

// Pictures of one size seen through a spot; beyond the border the border's pixels go on.
class Blur {
 public:
  Blur(const Spot& spot, size_t height, size_t width);

  // On `threads` threads, all started and ended here. target: a SIMD target instead of the best one.
  void Run(const Picture& in, Picture& out, size_t threads, std::string_view target, const Progress& progress) const;

  bool by_transforms() const { return plan_.algo() == lutra::ConvAlgo::kFft; }

 private:
  lutra::DepthwisePlan plan_;
};

// The same by a plain loop on one thread, on some rows in the middle of the picture for about half a second.
struct PlainRun {
  size_t rows = 0;      // of one colour each
  double seconds = 0;   // that they took
  double distance = 0;  // largest difference from `blurred`
};
PlainRun RunPlainLoop(const Spot& spot, const Picture& in, const Picture& blurred);
