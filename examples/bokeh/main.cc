// Sends a photograph through a large kernel: the blurred lights of a lens, or a moved camera.
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <string>

#include "blur.h"
#include "command_line.h"
#include "output_file.h"
#include "picture.h"

namespace {

struct Options : CommonOptions {
  std::string photo, shape = "disk";
  size_t size = 61;
  double angle = 30;
};

Shape ShapeOf(const std::string& name) {
  return name == "disk" ? Shape::kDisk : name == "star" ? Shape::kStar : Shape::kMotion;
}

double Now() { return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count(); }

std::string TimeText(double seconds) {
  char text[32];
  std::snprintf(text, sizeof(text), seconds < 1 ? "%.3g ms" : "%.3g s", seconds < 1 ? 1e3 * seconds : seconds);
  return text;
}

// Blurs and reports; the seconds it took.
double RunAndTell(const Blur& blur, const Picture& photo, Picture& out, size_t threads, const Options& options) {
  const bool shows = !options.quiet && isatty(STDOUT_FILENO) != 0;
  double shown = 0;
  const double start = Now();
  blur.Run(photo, out, threads, options.target, [&](double part) {
    if (!shows || Now() - shown < 0.1) return;
    shown = Now();
    std::printf("\rblurring     %3.0f %%", 100 * part);
    std::fflush(stdout);
  });
  const double seconds = Now() - start;
  if (!options.quiet) {
    std::printf("%sblurred      in %s with %zu %s: %s a megapixel\n", shows ? "\r" : "", TimeText(seconds).c_str(),
                threads, threads == 1 ? "thread" : "threads", TimeText(seconds / photo.megapixels()).c_str());
    std::fflush(stdout);
  }
  return seconds;
}

void Run(const Options& options) {
  // Everything that can be wrong is found before the work begins.
  lutra::Context context;
  const lutra::Status status = lutra::ForceTarget(context, options.target);
  if (!status.ok()) throw std::runtime_error("--target: " + std::string(status.message()));
  if (options.size % 2 == 0) throw std::runtime_error("--size is " + std::to_string(options.size) + ", must be odd");
  const OutputFile file(options.output);
  const Picture photo = ReadPicture(options.photo);

  const Spot spot = MakeSpot(ShapeOf(options.shape), options.size, options.angle);
  const double start = Now();
  const Blur blur(spot, photo.height, photo.width);
  if (!options.quiet) {
    std::printf("photograph   %zu x %zu pixels, %.2f megapixels of three colours\n", photo.width, photo.height,
                photo.megapixels());
    std::printf("kernel       %s of %zu x %zu pixels, made ready in %s for %s\n", options.shape.c_str(), options.size,
                options.size, TimeText(Now() - start).c_str(), blur.by_transforms() ? "transforms" : "direct sums");
  }
  Picture out{photo.height, photo.width, std::vector<float>(photo.planes.size())};
  const double alone = RunAndTell(blur, photo, out, 1, options);
  if (options.threads > 1) {
    const std::vector<float> before = out.planes;
    RunAndTell(blur, photo, out, options.threads, options);
    if (out.planes != before) throw std::runtime_error("the picture depends on the number of threads");
  }
  if (!options.quiet) {
    const PlainRun plain = RunPlainLoop(spot, photo, out);
    const double whole = plain.seconds * 3 * static_cast<double>(photo.height) / static_cast<double>(plain.rows);
    std::printf("plain loop   %s a megapixel with 1 thread, scaled from %zu of %zu rows: %.1f times as long\n",
                TimeText(whole / photo.megapixels()).c_str(), plain.rows, 3 * photo.height, whole / alone);
    std::printf("             differs by at most %.1e of white, its own rounding included\n", plain.distance);
  }
  file.Write(EncodePng(out));
  if (!options.quiet) std::printf("picture      %s\n", options.output.c_str());
  if (std::fflush(stdout) != 0 || std::ferror(stdout) != 0) throw std::runtime_error("stdout cannot be written");
}

}  // namespace

int main(int argc, char** argv) {
  Options options;
  options.output = "bokeh.png";
  CLI::App app("Sends a photograph through a large kernel, in linear light, and writes it as a PNG file.");
  app.footer("Example: bokeh --kernel star --size 101 --output stars.png photo.jpg");
  app.option_defaults()->always_capture_default()->multi_option_policy(CLI::MultiOptionPolicy::TakeLast);
  app.add_option("photo", options.photo, "a PNG or JPEG file")->type_name("FILE")->required();
  app.add_option("--kernel", options.shape, "what a point of light becomes")
      ->check(CLI::IsMember({"disk", "star", "motion"}));
  app.add_option("--size", options.size, "pixels of the kernel's side, odd")->check(CLI::Range(1, 401));
  app.add_option("--angle", options.angle, "of a motion, in degrees from the right, upwards")
      ->check(CLI::Range(-360.0, 360.0));
  AddCommonOptions(app, "the picture", &options);
  return ParseAndRun(app, argc, argv, "bokeh", 1, [&] { Run(options); });
}
