// An engine's own team of threads: every thread makes the same calls with Share(ith, nth), a barrier between them.
#include <lutra/lutra.h>

#include <barrier>
#include <cstdio>
#include <thread>
#include <vector>

namespace {

constexpr size_t kM = 5, kN = 200, kK = 300;
struct Shared {
  std::vector<float> x = std::vector<float>(kM * kK), hidden = std::vector<float>(kM * kN), y = hidden;
  std::vector<uint8_t> codes = std::vector<uint8_t>(kN * kK);
  lutra::PackedBuffer w;
  std::vector<std::byte> memory;
};

// Quantise, multiply, then a second op that reads the first one's output.
void Work(Shared& s, lutra::Context& context, const auto& barrier) {
  const lutra::Activations xq = lutra::Quantize(lutra::View(s.x.data(), kM, kK), {}, s.memory, context);
  barrier();
  lutra::Gemm<lutra::Ternary>(xq, s.w, lutra::View(s.hidden.data(), kM, kN), context);
  barrier();
  const lutra::Branch identity{0, kN, nullptr, 0, 0, {}};
  lutra::ChannelSplit({&identity, 1}, lutra::Nhwc(s.hidden.data(), 1, 1, kM, kN), lutra::Nhwc(s.y.data(), 1, 1, kM, kN),
                      context);
  barrier();
}

}  // namespace

int main() {
  Shared s;
  uint32_t random = 1;
  const auto next = [&] { return (random = random * 1664525u + 1013904223u) >> 8; };
  for (float& v : s.x) v = static_cast<float>(next() % 1000) * 0.01f - 5.0f;
  for (uint8_t& c : s.codes) c = static_cast<uint8_t>(next() % 3);
  s.memory.resize(lutra::ActivationBytes(kM, kK));
  const float one = 1.0f;
  lutra::Context alone;
  lutra::CodedMatrix coded;
  coded.format = lutra::Ternary::info;
  coded.scales.per_tensor = true;
  coded.n = kN;
  coded.k = coded.code_stride = kK;
  coded.codes = s.codes.data();
  coded.scale = lutra::View(&one, 1, 1);
  s.w = lutra::Pack(coded, alone);
  Work(s, alone, [] {});
  const std::vector<float> want = s.y;

  int bad = 0;
  for (const size_t nth : {size_t{1}, size_t{2}, size_t{3}, size_t{7}}) {
    s.hidden.assign(s.hidden.size(), -1.0f);
    s.y.assign(s.y.size(), -1.0f);
    std::barrier barrier(static_cast<ptrdiff_t>(nth));
    std::vector<std::thread> team;
    for (size_t ith = 0; ith < nth; ++ith) {
      team.emplace_back([&, ith] {
        lutra::Context context(lutra::Share(ith, nth));
        Work(s, context, [&] { barrier.arrive_and_wait(); });
      });
    }
    for (std::thread& t : team) t.join();
    const int wrong = s.y != want;
    std::printf("%zu threads: %s\n", nth, wrong ? "wrong" : "right");
    bad += wrong;
  }
  return bad;
}
