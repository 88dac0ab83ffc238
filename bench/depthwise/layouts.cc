// NCHW beside NHWC, each by what kAuto takes: f32, stride 1, same padding, warm. Multiply-adds count every tap of every
// output.
#include "bench/depthwise/conv_run.h"

namespace bench { namespace {

void Add(const ConvRunShape& s) {
  Register(Format("layouts/%zux%zux%zu/K:%zu/nchw", s.h, s.h, s.c, s.k), false, [=](Bench& b) {
    ConvRun run(s, lutra::Layout::kNchw, lutra::ConvAlgo::kAuto, b.context);
    run.Check();
    OwnRun nhwc(s, lutra::Layout::kNhwc, lutra::ConvAlgo::kAuto);
    const auto algo = [](const ConvRun& r) { return r.plan().algo() == lutra::ConvAlgo::kFft ? "fft" : "direct"; };
    Row row;
    row.op = run.AsPiece("lutra");
    row.bounds.push_back(b.Against(Limit::kFma, run.macs()));
    row.rivals.push_back(nhwc.run.AsPiece("nhwc"));
    row.note =
        Format("target=%s chosen=%s nhwc=%s", lutra::TargetName(b.context.last_target()), algo(run), algo(nhwc.run));
    b.Time(std::move(row));
  });
}

[[maybe_unused]] const bool registered = [] {
  constexpr ConvRunShape kShapes[] = {{56, 96, 3},   {56, 96, 5},   {56, 96, 7},   {28, 192, 7},  {14, 384, 7},
                                      {7, 768, 7},   {56, 96, 9},   {56, 128, 13}, {7, 1024, 13}, {14, 512, 27},
                                      {28, 256, 29}, {56, 128, 31}, {56, 96, 51}};
  for (const ConvRunShape& s : kShapes) Add(s);
  return true;
}();

}}  // namespace bench
