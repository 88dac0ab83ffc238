// Classifies the test pictures of Fashion-MNIST and draws what came out.
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <string>

#include "command_line.h"
#include "contact_sheet.h"
#include "fashion_mnist.h"
#include "lutra/lutra.h"
#include "net.h"
#include "output_file.h"
#include "safetensors.h"

namespace {

// Sums run in another order than PyTorch's. Where that moves an activation across the border of two 8-bit codes, all
// that follows moves a little.
constexpr float kLogitBound = 0.1f;
constexpr size_t kStoredLogits = 100;

struct Options : CommonOptions {
  std::string data = "/usr/share/datasets/fashion-mnist", model = LUTRA_FASHION_MODEL, predictions;
  size_t count = 10000;
};

// 1234567 as 1,234,567.
std::string Grouped(size_t n) {
  std::string text = std::to_string(n);
  for (size_t i = text.size(); i > 3; i -= 3) text.insert(i - 3, 1, ',');
  return text;
}

std::string Percent(size_t part, size_t whole) {
  char text[32];
  std::snprintf(text, sizeof(text), "%.2f %%", 100.0 * static_cast<double>(part) / static_cast<double>(whole));
  return text;
}

// Runs the network on the first `count` pictures. Threads share it and take batch after batch; more of them than
// batches are of no use. Returns pictures per second. logits: [count][kClasses].
double Classify(const Net& net, const Pictures& pictures, size_t count, const Options& options, size_t threads,
                std::vector<float>& logits) {
  std::vector<Workspace> workspaces;
  for (size_t i = 0; i < threads; ++i) {
    workspaces.push_back(net.MakeWorkspace());
    const lutra::Status status = lutra::ForceTarget(workspaces.back().context, options.target);
    if (!status.ok()) throw std::runtime_error(status.message());
  }
  const auto start = std::chrono::steady_clock::now();
  const auto seconds = [&] { return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count(); };
  const bool progress = !options.quiet && isatty(STDOUT_FILENO) != 0;
  std::atomic<size_t> next{0};
  const auto work = [&](size_t thread) {
    double shown = 0;
    for (size_t i; (i = next.fetch_add(Net::kBatch)) < count;) {
      net.Run(&pictures.pixels[i * kPixels], std::min(Net::kBatch, count - i), &logits[i * kClasses],
              workspaces[thread]);
      if (progress && thread == 0 && seconds() - shown > 0.1) {
        shown = seconds();
        std::printf("\rclassifying  %s of %s", Grouped(i).c_str(), Grouped(count).c_str());
        std::fflush(stdout);
      }
    }
  };
  {
    std::vector<std::jthread> others;
    for (size_t i = 1; i < threads; ++i) others.emplace_back(work, i);
    work(0);
  }
  const double rate = static_cast<double>(count) / seconds();
  if (!options.quiet) {
    std::printf("%sclassified   %s pictures with %zu %s: %s pictures/s\n", progress ? "\r" : "", Grouped(count).c_str(),
                threads, threads == 1 ? "thread" : "threads", Grouped(static_cast<size_t>(rate)).c_str());
    std::fflush(stdout);
  }
  return rate;
}

Answer AnswerOf(const float* logits) {
  const auto best = static_cast<size_t>(std::max_element(logits, logits + kClasses) - logits);
  float sum = 0;
  for (size_t c = 0; c < kClasses; ++c) sum += std::exp(logits[c] - logits[best]);
  return {static_cast<uint8_t>(best), 1.0f / sum};
}

void Run(const Options& options) {
  // Everything that can be wrong is found before the work begins.
  lutra::Context context;
  const lutra::Status status = lutra::ForceTarget(context, options.target);
  if (!status.ok()) throw std::runtime_error("--target: " + std::string(status.message()));
  const OutputFile sheet(options.output);
  const OutputFile predictions(options.predictions.empty() ? options.output : options.predictions);
  const Safetensors model(options.model);
  const Net net(model);
  const Pictures pictures = LoadTestPictures(options.data);
  const std::vector<uint8_t> theirs = model.Bytes("test.predictions", {10000});
  const std::vector<float> their_logits = model.Floats("test.logits", {kStoredLogits, kClasses});
  const size_t count = std::min({options.count, pictures.count(), theirs.size()});

  if (!options.quiet) {
    std::printf("Fashion-MNIST with lutra on %s\n",
                options.target.empty() ? lutra::Targets().begin()->name : options.target.c_str());
    std::printf("model        trained for %s epochs; in PyTorch %s %% right, with float weights %s %%\n",
                model.Metadata("epochs").c_str(), model.Metadata("ternary_accuracy").c_str(),
                model.Metadata("float_accuracy").c_str());
    std::printf("linears      %s ternary weights in %s bytes, as float %s: %.1f times smaller\n",
                Grouped(net.linear_weights()).c_str(), Grouped(net.packed_bytes()).c_str(),
                Grouped(4 * net.linear_weights()).c_str(),
                4.0 * static_cast<double>(net.linear_weights()) / static_cast<double>(net.packed_bytes()));
  }

  std::vector<float> logits(count * kClasses);
  Classify(net, pictures, count, options, 1, logits);
  if (options.threads > 1) {
    const std::vector<float> before = logits;
    Classify(net, pictures, count, options, options.threads, logits);
    if (logits != before) throw std::runtime_error("the logits depend on the number of threads");
  }

  std::vector<Answer> answers;
  size_t right = 0, agree = 0;
  for (size_t i = 0; i < count; ++i) {
    answers.push_back(AnswerOf(&logits[i * kClasses]));
    right += answers[i].label == pictures.labels[i];
    agree += answers[i].label == theirs[i];
  }
  float most = 0;
  for (size_t i = 0; i < std::min(count, kStoredLogits) * kClasses; ++i) {
    const float difference = std::fabs(logits[i] - their_logits[i]);
    if (!(difference <= most)) most = difference;  // NaN too
  }
  if (!options.quiet) {
    std::printf("accuracy     %s, %s of %s\n", Percent(right, count).c_str(), Grouped(right).c_str(),
                Grouped(count).c_str());
    std::printf("agreement    %s of the predictions are PyTorch's on the same weights, %s of %s\n",
                Percent(agree, count).c_str(), Grouped(agree).c_str(), Grouped(count).c_str());
    std::printf("logits       differ from PyTorch's by at most %.5f on the first %zu pictures, allowed is %g\n",
                static_cast<double>(most), std::min(count, kStoredLogits), static_cast<double>(kLogitBound));
  }
  if (!(most <= kLogitBound)) {
    throw std::runtime_error("the logits differ from PyTorch's by " + std::to_string(most) + ", more than is allowed");
  }

  const std::string png = DrawContactSheet(
      pictures, answers, "an InceptionNeXt-style network whose linear layers are ternary, run by lutra");
  if (!options.predictions.empty()) {
    std::string text;
    for (const Answer& answer : answers) text += std::to_string(answer.label) + "\n";
    predictions.Write(text);
  }
  sheet.Write(png);
  if (!options.quiet) std::printf("sheet        %s\n", options.output.c_str());
  if (std::fflush(stdout) != 0 || std::ferror(stdout) != 0) throw std::runtime_error("stdout cannot be written");
}

}  // namespace

int main(int argc, char** argv) {
  Options options;
  options.output = "fashion.png";
  CLI::App app("Classifies the test pictures of Fashion-MNIST with a ternary network and draws a contact sheet.");
  app.footer("Example: fashion --target " + std::string(lutra::Targets().begin()->name) +
             " --threads 2 --output sheet.png");
  app.option_defaults()->always_capture_default()->multi_option_policy(CLI::MultiOptionPolicy::TakeLast);
  app.add_option("--data", options.data, "folder of the data set")->type_name("DIR");
  app.add_option("--model", options.model, "the network's weights, as train.py writes them")->type_name("FILE");
  app.add_option("--predictions", options.predictions, "also write the predicted classes, one a line")
      ->type_name("FILE");
  app.add_option("--count", options.count, "classify only the first so many pictures")->check(CLI::Range(1, 10000));
  AddCommonOptions(app, "the contact sheet", &options);
  return ParseAndRun(app, argc, argv, "fashion", 2, [&] { Run(options); });
}
