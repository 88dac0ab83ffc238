#include "bench/harness.h"

#include <algorithm>
#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <stdexcept>

#include "bench/machine.h"

namespace bench {
namespace {

Options options;
bool failed = false;  // a row was wrong

// One thread: the process's CPU time, which counts a peer's helpers too, but not what a busy machine runs in between.
// Several: the time on the wall.
double Now(bool one_thread) {
  timespec t;
  clock_gettime(one_thread ? CLOCK_PROCESS_CPUTIME_ID : CLOCK_MONOTONIC, &t);
  return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_nsec) * 1e-9;
}

struct Timed {
  const Piece* piece;
  bool one_thread;
  size_t repeat = 1;
  std::vector<double> seconds = {};  // of one run, for each round

  // Caches take several passes to hold again what a rival has pushed out of them.
  void Round(double warm_seconds) {
    if (piece->warm) {
      const double end = Now(one_thread) + warm_seconds;
      do piece->run();
      while (Now(one_thread) < end);
    }
    const double begin = Now(one_thread);
    for (size_t i = 0; i < repeat; ++i) piece->run();
    seconds.push_back((Now(one_thread) - begin) / static_cast<double>(repeat));
  }
  double Calibrate(double least) {
    piece->run();
    double fastest = 1e9;
    for (int i = 0; i < 2; ++i) {
      const double begin = Now(one_thread);
      piece->run();
      fastest = std::min(fastest, Now(one_thread) - begin);
    }
    repeat = std::clamp<size_t>(static_cast<size_t>(least / fastest) + 1, 1, 100000);
    return fastest * static_cast<double>(repeat + piece->warm);
  }
};

double Quantile(std::vector<double> v, double q) {
  const auto at = static_cast<size_t>(q * static_cast<double>(v.size() - 1) + 0.5);
  std::nth_element(v.begin(), v.begin() + static_cast<ptrdiff_t>(at), v.end());
  return v[at];
}
// The median over rounds of a's rate / b's rate.
double Ratio(const Timed& a, double a_work, const Timed& b, double b_work) {
  std::vector<double> ratios;
  for (size_t i = 0; i < a.seconds.size(); ++i) ratios.push_back(a_work / a.seconds[i] * b.seconds[i] / b_work);
  return Quantile(std::move(ratios), 0.5);
}

}  // namespace

const Options& Flags() { return options; }

std::string Format(const char* format, ...) {
  char text[256];
  va_list args;
  va_start(args, format);
  std::vsnprintf(text, sizeof(text), format, args);
  va_end(args);
  return text;
}

float Random::Normal() {
  float sum = -6.0f;
  for (int i = 0; i < 12; ++i) sum += static_cast<float>(Next() >> 40) * 0x1p-24f;
  return sum;
}

void Bench::Time(Row row) {
  const bool one = team.workers() == 1;
  std::erase_if(row.bounds, [](const Bound& b) { return b.piece.work == 0; });
  std::vector<Timed> all;
  all.push_back({&row.op, one});
  for (const Bound& b : row.bounds) all.push_back({&b.piece, one});
  for (const Piece& r : row.rivals) all.push_back({&r, one});

  int rounds = 1;
  double round_seconds = 0;
  for (Timed& t : all) round_seconds += t.Calibrate(options.smoke ? 0.0 : 150e-6);
  if (!options.smoke)
    rounds = std::clamp(static_cast<int>(2.0 / round_seconds), std::min(5, options.rounds), options.rounds);
  for (int i = 0; i < rounds; ++i) {
    for (size_t k = 0; k < all.size(); ++k) {
      const bool bound = k >= 1 && k <= row.bounds.size();
      all[k].Round(bound || options.smoke ? 0.0 : 4e-3);
    }
  }

  const Timed& op = all[0];
  const double median = Quantile(op.seconds, 0.5), rate = row.op.work / median * 1e-9;
  for (auto _ : state) state.SetIterationTime(median);
  state.counters[row.bytes ? "gbs" : "gmacs"] = rate;
  if (row.traffic != 0) state.counters["gbs"] = row.traffic / median * 1e-9;
  state.counters["spread"] = (Quantile(op.seconds, 0.75) - Quantile(op.seconds, 0.25)) / median;
  std::string label;
  for (size_t i = 0; i < row.bounds.size(); ++i) {
    const Bound& b = row.bounds[i];
    const double share = Ratio(op, b.work, all[1 + i], b.piece.work);
    state.counters[Format("of_%s", b.piece.name.c_str())] = share;
    if (i == 0) {
      state.counters["limit"] = b.piece.work / Quantile(all[1].seconds, 0.5) * 1e-9;
      state.counters["share"] = share;
      label = Format("limit=%s", b.piece.name.c_str());
    }
  }
  for (size_t i = 0; i < row.rivals.size(); ++i) {
    const Piece& r = row.rivals[i];
    state.counters[Format("vs_%s", r.name.c_str())] = Ratio(op, row.op.work, all[1 + row.bounds.size() + i], r.work);
  }
  if (!row.note.empty()) label.append(label.empty() ? "" : " ").append(row.note);
  state.SetLabel(label);
}

void Register(const std::string& name, bool all_threads, std::function<void(Bench&)> body, size_t scratch) {
  if (all_threads && CoreCount() == 1) return;
  const std::string full = Format("%s/threads:%s", name.c_str(), all_threads ? "all" : "1");
  benchmark::RegisterBenchmark(full.c_str(),
                               [=](benchmark::State& state) {
                                 try {
                                   Team team(all_threads ? CoreCount() : 1);
                                   lutra::Context context(team.executor(), scratch);
                                   context.set_target(options.target);
                                   Bench b{state, team, context};
                                   body(b);
                                 } catch (const std::exception& error) {
                                   failed = true;
                                   state.SkipWithError(error.what());
                                 }
                               })
      ->Iterations(1)
      ->UseManualTime()
      ->Unit(benchmark::kMicrosecond);
}

}  // namespace bench

// lutra's own flags, beside those of Google Benchmark:
//   --smoke         checks every answer and hardly times it
//   --target=NAME   forces a target
//   --rounds=N      rounds of a row
int main(int argc, char** argv) {
  using namespace bench;
  std::string target;
  int kept = 1;
  for (int i = 1; i < argc; ++i) {
    if (std::strcmp(argv[i], "--smoke") == 0) {
      options.smoke = true;
    } else if (std::strncmp(argv[i], "--target=", 9) == 0) {
      target = argv[i] + 9;
    } else if (std::strncmp(argv[i], "--rounds=", 9) == 0) {
      options.rounds = std::max(1, std::atoi(argv[i] + 9));
    } else {
      argv[kept++] = argv[i];
    }
  }
  argc = kept;
  options.target = TargetByName(target);
  // Without a filter all rows but the named sets run; large matrices are slow to make for --smoke.
  benchmark::SetBenchmarkFilter(options.smoke ? "-^(choose|curve|errors|shapes)/|4096|6912"
                                              : "-^(choose|curve|errors|shapes)/");
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 2;
  benchmark::AddCustomContext("cpu_model", CpuModel());
  benchmark::AddCustomContext("lutra", LUTRA_VERSION_STRING);
  benchmark::AddCustomContext("built", CompilerText());
  benchmark::AddCustomContext("targets", TargetsText());
  benchmark::AddCustomContext("target", target.empty() ? lutra::Targets().targets[0].name : target);
  if (!options.smoke) benchmark::AddCustomContext("probe", ProbeText(options.target));
  PinTo(-1);
  benchmark::RunSpecifiedBenchmarks();
  benchmark::Shutdown();
  return failed ? 1 : 0;
}
