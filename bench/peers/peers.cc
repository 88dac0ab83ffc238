#include "bench/peers/peer.h"

#include <cstdio>
#include <exception>
#include <set>

namespace bench {
namespace {

// Adds what `make` makes; threads that it starts may run on any core.
template <class Peer, class Make>
[[maybe_unused]] void Add(std::vector<std::unique_ptr<Peer>>& peers, const Make& make) {
  Unpinned unpinned;
  try {
    if (auto peer = make()) {
      peer->Run();  // most start their threads now
      peers.push_back(std::move(peer));
    }
  } catch (const std::exception& error) {
    static std::set<std::string> told;  // once each
    if (told.insert(error.what()).second) std::fprintf(stderr, "peer: %s\n", error.what());
  }
}

}  // namespace

std::vector<std::unique_ptr<GemmPeer>> GemmPeers([[maybe_unused]] const GemmRun& run, [[maybe_unused]] size_t threads) {
  std::vector<std::unique_ptr<GemmPeer>> peers;
#if defined(LUTRA_PEER_GGML)
  Add(peers, [&] { return GgmlGemm(run, threads); });
#endif
#if defined(LUTRA_PEER_ONNXRUNTIME)
  Add(peers, [&] { return OnnxRuntimeGemm(run, threads); });
#endif
  return peers;
}

std::vector<std::unique_ptr<ConvPeer>> ConvPeers([[maybe_unused]] const ConvShape& shape,
                                                 [[maybe_unused]] size_t threads) {
  std::vector<std::unique_ptr<ConvPeer>> peers;
#if defined(LUTRA_PEER_ONEDNN)
  Add(peers, [&] { return OneDnnConv(shape, threads); });
#endif
#if defined(LUTRA_PEER_XNNPACK)
  Add(peers, [&] { return XnnpackConv(shape, threads); });
#endif
#if defined(LUTRA_PEER_ONNXRUNTIME)
  Add(peers, [&] { return OnnxRuntimeConv(shape, threads); });
#endif
  return peers;
}

std::vector<std::unique_ptr<ConvPeer>> InceptionPeers([[maybe_unused]] const InceptionShape& shape,
                                                      [[maybe_unused]] size_t threads) {
  std::vector<std::unique_ptr<ConvPeer>> peers;
#if defined(LUTRA_PEER_ONNXRUNTIME)
  Add(peers, [&] { return OnnxRuntimeInception(shape, threads); });
#endif
  return peers;
}

}  // namespace bench
