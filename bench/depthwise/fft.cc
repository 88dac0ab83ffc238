// Depthwise convolution by transforms, f32, NHWC, stride 1, same padding. Multiply-adds count every tap of every
// output, what direct convolution would do: shares above 1 of the FMA peak are the point. "warm": one problem again and
// again, spectra in L3; "cold": problems in turn whose images and spectra together leave every cache, as inside a
// network; "cold_bf16": the same with spectra of bf16, which are lossy.
#include "bench/depthwise/conv_run.h"

namespace bench { namespace {

constexpr lutra::Layout kNhwc = lutra::Layout::kNhwc;

std::string NoteOf(const ConvRun& run, const Bench& b) {
  const lutra::DepthwisePlanParts& p = run.plan().parts();
  return Format("target=%s points=%dx%d tiles=%zux%zu spectra=%zu", lutra::TargetName(b.context.last_target()),
                p.fft_columns.points, p.fft_rows.points, p.fft_columns.tiles, p.fft_rows.tiles, p.spectra.bytes());
}

void AddWarm(const ConvRunShape& s, bool all) {
  Register(Format("fft/%zux%zux%zu/K:%zu/warm", s.h, s.h, s.c, s.k), all, [=](Bench& b) {
    ConvRun run(s, kNhwc, lutra::ConvAlgo::kFft, b.context);
    run.Check();
    Row row;
    row.op = run.AsPiece("lutra");
    row.bounds.push_back(b.Against(Limit::kFma, run.macs()));
    row.note = NoteOf(run, b);
    lutra::Context alone;
    ConvRun other(s, kNhwc, all ? lutra::ConvAlgo::kFft : lutra::ConvAlgo::kDirect, alone);
    other.Check();
    row.rivals.push_back(other.AsPiece(all ? "1thread" : "direct"));
    const auto peers = run.Peers(b.team.workers(), &row);
    b.Time(std::move(row));
  });
}

void AddCold(const ConvRunShape& s) {
  const bool bf16 = s.spectra == lutra::DType::kBF16;
  Register(Format("fft/%zux%zux%zu/K:%zu/cold%s", s.h, s.h, s.c, s.k, bf16 ? "_bf16" : ""), false, [=](Bench& b) {
    constexpr size_t kColdBytes = size_t{256} << 20;
    std::vector<std::unique_ptr<ConvRun>> runs;
    for (size_t bytes = 0; bytes < kColdBytes && !(Flags().smoke && runs.size() == 2); bytes += runs.back()->bytes()) {
      runs.push_back(std::make_unique<ConvRun>(s, kNhwc, lutra::ConvAlgo::kFft, b.context));
    }
    runs[0]->Check();
    Row row;
    size_t next = 0;
    row.op = {"lutra", runs[0]->macs(), [&] { (*runs[next++ % runs.size()])(); }, /*warm=*/false};
    row.traffic = static_cast<double>(runs[0]->bytes());
    row.bounds.push_back(b.Against(Limit::kFma, runs[0]->macs()));
    row.note = NoteOf(*runs[0], b);
    std::vector<std::unique_ptr<ConvPeer>> peers;
    if (!bf16) peers = runs[0]->Peers(b.team.workers(), &row);  // these stay warm
    std::vector<std::unique_ptr<ConvRun>> others;
    size_t next_other = 0;
    lutra::Context alone;
    if (bf16) {
      ConvRunShape f32 = s;
      f32.spectra = lutra::DType::kF32;
      for (size_t i = 0; i < runs.size(); ++i) {
        others.push_back(std::make_unique<ConvRun>(f32, kNhwc, lutra::ConvAlgo::kFft, alone));
      }
      row.rivals.push_back(
          {"f32", others[0]->macs(), [&] { (*others[next_other++ % others.size()])(); }, /*warm=*/false});
    }
    b.Time(std::move(row));
  });
}

[[maybe_unused]] const bool registered = [] {
  constexpr ConvRunShape kShapes[] = {{56, 96, 7},   {28, 192, 7},  {14, 384, 7},  {7, 768, 7},
                                      {56, 96, 9},   {56, 128, 13}, {7, 1024, 13}, {14, 512, 27},
                                      {28, 256, 29}, {56, 128, 31}, {56, 96, 51}};
  for (const ConvRunShape& s : kShapes) {
    AddWarm(s, false);
    AddWarm(s, true);
    AddCold(s);
    ConvRunShape bf16 = s;
    bf16.spectra = lutra::DType::kBF16;
    AddCold(bf16);
  }
  return true;
}();

}}  // namespace bench
