// Sums of x[m, k] * code[n, k] by tables ("Four Russians"), exact in int32: prefill of affine formats of 1 and 2 bits.
// For each 3 or 4 digits of k the table of all their sums is built, once for 32 rows of x; a field of packed weight
// bits is then an index, and one addition of a 64-byte line stands for 96 ... 192 multiply-adds.
//
// Needs   whole blocks of 32 k; x: int8 rows that are zero up to the end of their last block.
//
// Bound   loads of lines from L1, one 64-byte line a cycle: of 12 cycles a row of 1,024 ternary multiply-adds (Zen 4)
//         9 are such loads. A table takes one store per slot, which many rows of w must share. The multiplier idles:
//         where it has a 4-way dot of 64 bytes, it takes about half of the panels meanwhile, 2,048 in 19 cycles.
//
// Loop: 32 rows of x > a block of panels > a pass of 64 bits a row of w (sums_pass-inl.h) > all rows of the block,
// whose 16-bit sums stay in L2.
#if defined(LUTRA_GEMM_SUMS_TABLE_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef LUTRA_GEMM_SUMS_TABLE_INL_H_
#undef LUTRA_GEMM_SUMS_TABLE_INL_H_
#else
#define LUTRA_GEMM_SUMS_TABLE_INL_H_
#endif

#include "lutra/gemm/sums_pass-inl.h"

LUTRA_BEFORE_KERNELS
namespace lutra { inline namespace LUTRA_NS { namespace HWY_NAMESPACE {

#if !LUTRA_HAS_SUMS_TABLE
template <class Config>
internal::SumsKernel SumsTable() {
  return {};
}
#else

// --- Scales: lanes are rows of x, the arithmetic is that of scale-inl.h.

// Adds a span's sums of one panel, 256 high + sums [row of w][row of x], to run of the same shape; `to` gets the new
// run; kEnds: 0 + run * x.scale, where it is the only one. high null: zeros. low: what tables add to codes.
template <bool kEnds>
HWY_NOINLINE void ScalePanel(const GemmCall& c, size_t p, size_t group, int low, const SumsX& x,
                             const int16_t* HWY_RESTRICT sums, const int16_t* HWY_RESTRICT high, const float* run,
                             float* to) {
  constexpr size_t kRows = internal::kSumsRows;
  const hn::CappedTag<float, 16> df;
  const hn::RebindToSigned<decltype(df)> d32;
  const hn::Rebind<int16_t, decltype(d32)> d16;
  HWY_ALIGN float buffer[2 * kPanelRows];
  const SpanScale s = ScaleOfGroup(c, p, group, buffer);
  for (size_t lane = 0; lane < kRows; lane += hn::Lanes(d32)) {
    const auto x_sum = hn::Load(d32, x.sum + lane);
    const auto x_scale = hn::Load(df, x.scale + lane);
    // As in ZeroCorrection: what is left of a half-integer zero point is a half.
    const auto zeros = hn::Mul(x_sum, hn::Set(d32, c.w.format().zero_x2 / 2 + low));
    for (size_t row = 0; row < kPanelRows; ++row) {
      const size_t at = row * kRows + lane;
      auto sum = hn::PromoteTo(d32, hn::Load(d16, sums + at));
      if (high != nullptr) sum = hn::Add(sum, hn::ShiftLeft<8>(hn::PromoteTo(d32, hn::Load(d16, high + at))));
      sum = hn::Sub(sum, zeros);
      auto total = hn::Load(df, run + at);
      if (HWY_UNLIKELY(s.raw)) {
        hn::Store(hn::BitCast(df, hn::Add(hn::BitCast(d32, total), sum)), df, to + at);
        continue;
      }
      auto t = hn::ConvertTo(df, sum);
      if (HWY_UNLIKELY(s.half)) {
        t = hn::Mul(hn::ConvertTo(df, hn::Sub(hn::Add(sum, sum), x_sum)), hn::Set(df, 0.5f));
      }
      total = hn::Add(total, hn::Mul(t, hn::Set(df, s.scale[row])));
      if (HWY_UNLIKELY(s.offset != nullptr)) {
        total = hn::Add(total, hn::Mul(hn::ConvertTo(df, x_sum), hn::Set(df, s.offset[row])));
      }
      if constexpr (kEnds) total = hn::Add(hn::Zero(df), hn::Mul(total, x_scale));
      hn::Store(total, df, to + at);
    }
  }
}

// to = acc + run * x.scale, of one panel; raw: y is i32.
HWY_NOINLINE inline void EndRun(bool raw, const SumsX& x, const float* run, const float* acc, float* to) {
  const hn::CappedTag<float, 16> df;
  const hn::RebindToSigned<decltype(df)> d32;
  for (size_t lane = 0; lane < internal::kSumsRows; lane += hn::Lanes(df)) {
    const auto scale = hn::Load(df, x.scale + lane);
    for (size_t at = lane; at < internal::kSumsPanelLanes; at += internal::kSumsRows) {
      const auto r = hn::Load(df, run + at), a = hn::Load(df, acc + at);
      hn::Store(
          raw ? hn::BitCast(df, hn::Add(hn::BitCast(d32, a), hn::BitCast(d32, r))) : hn::Add(a, hn::Mul(r, scale)), df,
          to + at);
    }
  }
}

// 32 floats for each row of x from acc[row of w][row of x].
HWY_INLINE void TransposePanel(const float* HWY_RESTRICT acc, float* const* HWY_RESTRICT rows) {
  const hn::FixedTag<float, 4> d;
  for (size_t n = 0; n < kPanelRows; n += 4) {
    for (size_t m = 0; m < internal::kSumsRows; m += 4) {
      const float* from = acc + n * internal::kSumsRows + m;
      const auto r0 = hn::Load(d, from), r1 = hn::Load(d, from + internal::kSumsRows);
      const auto r2 = hn::Load(d, from + 2 * internal::kSumsRows), r3 = hn::Load(d, from + 3 * internal::kSumsRows);
      const auto even = hn::InterleaveLower(d, r0, r2), odd = hn::InterleaveLower(d, r1, r3);
      const auto even2 = hn::InterleaveUpper(d, r0, r2), odd2 = hn::InterleaveUpper(d, r1, r3);
      hn::StoreU(hn::InterleaveLower(d, even, odd), d, rows[m] + n);
      hn::StoreU(hn::InterleaveUpper(d, even, odd), d, rows[m + 1] + n);
      hn::StoreU(hn::InterleaveLower(d, even2, odd2), d, rows[m + 2] + n);
      hn::StoreU(hn::InterleaveUpper(d, even2, odd2), d, rows[m + 3] + n);
    }
  }
}

// Outputs of rows [m, m + count) and panel p from acc[row of w][row of x].
HWY_NOINLINE inline void WriteSums(const GemmCall& c, size_t p, size_t m, size_t count, const float* acc, float* rows) {
  const size_t n = HWY_MIN(kPanelRows, c.w.n() - p * kPanelRows);
  const Epilogue& e = c.e;
  const bool plain = c.y.type == DType::kF32 && e.scale == nullptr && e.bias == nullptr && e.act == Act::kNone &&
                     !e.clamp && e.mul.data == nullptr && e.residual.data == nullptr && !e.accumulate;
  float* to[internal::kSumsRows];
  for (size_t i = 0; i < internal::kSumsRows; ++i) {
    to[i] = rows + i * kPanelRows;
    if (!plain || n < kPanelRows || i >= count) continue;
    float* const y = reinterpret_cast<float*>(internal::OutputRow(c, m + i));
    if (y != nullptr) to[i] = y + p * kPanelRows;
  }
  TransposePanel(acc, to);
  if (plain && n == kPanelRows) return;
  for (size_t i = 0; i < count; ++i) WriteRow(c, m + i, p * kPanelRows, n, rows + i * kPanelRows);
}

// --- Driver

// Whether passes have dots beside them.
template <class Planes, int kField>
inline constexpr bool kMixes = kField == 8 && HWY_ARCH_X86 != 0 &&
                               hn::MaxLanes(SumsTag()) == 32 && DotTraits<Planes, 1, 2>::kQuad;

// Rows [m, m + count) of x, count <= kSumsRows, by panels [begin, end).
template <class Planes, int kField>
HWY_NOINLINE void SumsGroup(const internal::GemmTask& t, size_t m, size_t count, size_t begin, size_t end,
                            const internal::SumsScratch& scratch) {
  constexpr int kBits = Planes::kBits;
  constexpr size_t kRows = internal::kSumsRows, kPassBlocks = 2 / kBits;
  using Shape = internal::SumsShape<kField>;
  constexpr internal::SumsFormat kSums = internal::SumsOf(kBits, kField == 8);
  const GemmCall& c = t.call;
  size_t panels = end - begin;
  const size_t block_bytes = c.w.block_bytes();
  constexpr size_t kPanel = internal::kSumsPanelLanes;
  const bool raw = c.y.type == DType::kI32;
  // Of one run, acc stays the zeros that it begins as; of one span, run too.
  const bool one_run = internal::SumsHasOneRun(c);
  const bool one_span = internal::HasOneSpan(c);
  if (!one_run) std::memset(scratch.acc, 0, panels * kPanel * sizeof(float));
  std::memset(scratch.odd, 0, panels);
  std::memset(scratch.lines + kSums.pass_k * kRows, 0, 2 * kRows * sizeof(int16_t));  // where the last table looks
  SumsX x;
  HWY_ALIGN int32_t pass_fours[kPassBlocks * 8 * kRows];
  HWY_ALIGN int32_t dot_sums[DotsBeside::kRows * kPanelRows];
  DotsBeside dots = {};
  bool mixed = false;
  const int16_t* high = nullptr;
  bool run_begins = true;
  for (size_t segment = 0; segment < c.w.segments(); ++segment) {
    size_t x_row[kRows];
    const int8_t* x_codes[kRows];
    for (size_t i = 0; i < kRows; ++i) {
      x_row[i] = i < count ? XRow(c, m + i, segment) : c.xq->m;
      x_codes[i] = c.xq->Row(x_row[i]);
    }
    for (size_t k = 0; k < c.w.segment_k();) {
      const internal::Span s = internal::SpanAt(c.w, c.xq->spec, segment, k);
      const bool ends = internal::EndsRun(c, s);
      k = s.k1;
      const size_t first = s.k0 / kBlockK, blocks = (s.k1 - s.k0 + kBlockK - 1) / kBlockK;
      for (size_t i = 0; i < kRows; ++i) {
        x.scale[i] = c.xq->Scale(x_row[i], s.x_group);
        x.sum[i] = 0;
        for (size_t b = 0; b < blocks; ++b) x.sum[i] += c.xq->sums[x_row[i] * c.xq->blocks + first + b];
      }
      const size_t passes = (blocks + kPassBlocks - 1) / kPassBlocks;
      if constexpr (kMixes<Planes, kField>) {
        if (internal::SumsMayMix(c)) {
          const size_t taken = StartDots(c, x_codes, x, m, count, begin, panels, blocks,
                                         reinterpret_cast<int32_t*>(scratch.run), dot_sums, dots);
          panels -= taken;
          begin += taken;
          mixed = taken != 0;
        }
      }
      HWY_ALIGN uint16_t most[kRows] = {};  // magnitudes of the 16-bit sums
      high = nullptr;
      std::memset(scratch.sums, 0, panels * kPanel * sizeof(int16_t));
      for (size_t pass = 0; pass < passes; ++pass) {
        const size_t block = first + pass * kPassBlocks, there = HWY_MIN(kPassBlocks, first + blocks - block);
        const int32_t* fours = pass_fours;
        if (mixed) {
          fours = dots.x_begin + block * 8 * kRows;
        } else {
          for (size_t i = 0; i < there; ++i) GatherX(x_codes, (block + i) * kBlockK, pass_fours + i * 8 * kRows);
        }
        SpreadX<kBits>(fours, there, scratch.lines);
        for (size_t i = 0; i < Shape::kTables; ++i) {
          int16_t* table = reinterpret_cast<int16_t*>(scratch.tables + i * Shape::kPitch);
          if constexpr (kField == 8) {
            BuildSums8(scratch.lines + 4 * i * kRows, table);
          } else {
            BuildSums6<kBits>(scratch.lines + 6 / kBits * i * kRows, i + 1 < Shape::kTables ? 4 : 1, table);
          }
        }
        if (Overflows(scratch.lines, kSums.pass_k, kSums.Worst(), most)) {
          if (high == nullptr) std::memset(scratch.high, 0, panels * kPanel * sizeof(int16_t));
          high = scratch.high;
          MoveToHigh(panels * kPanel, scratch.sums, scratch.high);
          for (uint16_t& of_row : most) of_row = 255;
          Overflows(scratch.lines, kSums.pass_k, kSums.Worst(), most);
        }
        SumsPass a;
        a.w = c.w.Codes(begin) + (segment * c.w.blocks_per_segment() + block) * block_bytes;
        a.panel_stride = static_cast<size_t>(c.w.Codes(1) - c.w.Codes(0));
        a.second = kBits == 1 && there == 1 ? 0 : 128;  // a unit that is not there meets tables of zeros
        a.panels = panels;
        a.tables = scratch.tables;
        a.sums = scratch.sums;
        a.odd = scratch.odd;
        if constexpr (kMixes<Planes, kField>) {
          a.panels = HWY_MIN(panels, dots.Left());
          if (a.panels != 0) RunSumsPass<kField, true>(a, &dots);
          a.w += a.panels * a.panel_stride;
          a.sums += a.panels * kPanel;
          a.odd += a.panels;
          a.panels = panels - a.panels;
        }
        RunSumsPass<kField, false>(a, nullptr);
      }
      if (one_span) continue;
      for (size_t p = 0; p < panels; ++p) {
        const size_t at = p * kPanel;
        float* run = scratch.run + at;
        ScalePanel<false>(c, begin + p, s.weight_group, kSums.low, x, scratch.sums + at,
                          high == nullptr ? high : high + at, run_begins ? scratch.zeros : run, run);
        if (ends && !one_run) EndRun(raw, x, run, scratch.acc + at, scratch.acc + at);
      }
      run_begins = ends;
    }
  }
  for (size_t p = 0; p < panels; ++p) {
    if (p + 1 < panels) PrefetchOutputs(c, begin + p + 1, m, count);
    if (kField == 8 && scratch.odd[p]) {
      DotRectangle<Planes>(c, {begin + p, begin + p + 1, m, m + count});
      continue;
    }
    const size_t at = p * kPanel;
    if (one_span) {
      ScalePanel<true>(c, begin + p, 0, kSums.low, x, scratch.sums + at, high == nullptr ? high : high + at,
                       scratch.zeros, scratch.tile);
    } else if (one_run) {
      EndRun(raw, x, scratch.run + at, scratch.zeros, scratch.tile);
    }
    WriteSums(c, begin + p, m, count, one_run ? scratch.tile : scratch.acc + at, scratch.rows);
  }
}

// Entry: one task.
template <class Planes, int kField>
int64_t SumsTask(const internal::GemmTask& t, size_t task, std::byte* memory) {
  const internal::GemmTile tile = internal::TileOf(t, task);
  const internal::SumsScratch scratch = internal::LayOutSums(memory, internal::SumsHasOneRun(t.call));
  size_t m = tile.row_begin;
  for (; m < tile.row_end; m += internal::kSumsRows) {
    const size_t count = HWY_MIN(internal::kSumsRows, tile.row_end - m);
    if (count < t.min_lanes) break;
    for (size_t p = tile.panel_begin; p < tile.panel_end;) {
      const size_t left = tile.panel_end - p,
                   most = internal::SumsHasOneRun(t.call) ? internal::kSumsPanels : internal::kSumsPanelsOfRuns;
      const size_t blocks = (left + most - 1) / most;
      const size_t end = p + (left + blocks - 1) / blocks;
      SumsGroup<Planes, kField>(t, m, count, p, end, scratch);
      p = end;
    }
  }
  if (m < tile.row_end) DotRectangle<Planes>(t.call, {tile.panel_begin, tile.panel_end, m, tile.row_end});
  return HWY_TARGET;
}

// Config: internal::SumsConfig.
template <class Config>
internal::SumsKernel SumsTable() {
  using Planes = typename Config::Planes;
  return {&SumsTask<Planes, Config::kField>, hn::MaxLanes(SumsTag()) * sizeof(int16_t), Config::kField,
          DotTraits<Planes, 1, 2>::kQuad};
}
#endif  // LUTRA_HAS_SUMS_TABLE

}}}  // namespace lutra::LUTRA_NS::HWY_NAMESPACE
LUTRA_AFTER_KERNELS
#endif
