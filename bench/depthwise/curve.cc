// How time grows: with the kernel (56 x 56 x 96, odd K of 3 to 51), and with the image (13 x 13, 96 channels). f32,
// NHWC, stride 1, same padding, warm. What kAuto takes beside each algorithm and the peers; multiply-adds count every
// tap of every output. bench/curves.py draws them.
#include "bench/depthwise/conv_run.h"

namespace bench { namespace {

// smaller: the kernel whose time is vs_smaller of this one's, or 0.
void Add(const char* axis, const ConvRunShape& s, size_t smaller) {
  Register(Format("curve/%s/%zux%zux%zu/K:%zu", axis, s.h, s.h, s.c, s.k), false, [=](Bench& b) {
    ConvRun run(s, lutra::Layout::kNhwc, lutra::ConvAlgo::kAuto, b.context);
    run.Check();
    Row row;
    row.op = run.AsPiece("lutra");
    row.bounds.push_back(b.Against(Limit::kFma, run.macs()));
    const bool transforms = run.plan().algo() == lutra::ConvAlgo::kFft;
    row.note = Format("target=%s chosen=%s", lutra::TargetName(b.context.last_target()), transforms ? "fft" : "direct");
    OwnRun direct(s, lutra::Layout::kNhwc, lutra::ConvAlgo::kDirect);
    OwnRun fft(s, lutra::Layout::kNhwc, lutra::ConvAlgo::kFft);
    row.rivals.push_back(direct.run.AsPiece("direct"));
    row.rivals.push_back(fft.run.AsPiece("fft"));
    std::unique_ptr<OwnRun> before;
    if (smaller != 0) {
      before = std::make_unique<OwnRun>(ConvRunShape{s.h, s.c, smaller}, lutra::Layout::kNhwc, lutra::ConvAlgo::kAuto);
      Piece piece = before->run.AsPiece("smaller");
      piece.work = run.macs();  // times are compared, not rates
      row.rivals.push_back(std::move(piece));
    }
    const auto peers = run.Peers(b.team.workers(), &row);
    b.Time(std::move(row));
  });
}

[[maybe_unused]] const bool registered = [] {
  for (size_t k = 3; k <= 51; k += 2) Add("k", {56, 96, k}, k == 3 ? 0 : k - 2);
  constexpr size_t kSides[] = {7, 10, 14, 20, 28, 40, 56, 80, 112, 160, 224};
  for (const size_t h : kSides) Add("size", {h, 96, 13}, 0);
  return true;
}();

}}  // namespace bench
