#include "contact_sheet.h"

#define STB_IMAGE_WRITE_IMPLEMENTATION
#define STB_IMAGE_WRITE_STATIC
#include <stb/stb_image_write.h>
#define STB_IMAGE_RESIZE_IMPLEMENTATION
#define STB_IMAGE_RESIZE_STATIC
#include <stb/stb_image_resize.h>
#define STB_TRUETYPE_IMPLEMENTATION
#define STBTT_STATIC
#include <stb/stb_truetype.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>
#include <fstream>
#include <iterator>
#include <stdexcept>

namespace {

struct Colour {
  float r, g, b;
};
constexpr Colour kPaper{247, 244, 238}, kCard{255, 255, 255}, kInk{27, 31, 43}, kGrey{122, 124, 134},
    kLine{226, 221, 211}, kRight{73, 150, 115}, kWrong{212, 74, 62}, kWrongCard{255, 244, 241};

constexpr int kPicture = 60, kPad = 5, kCard60 = kPicture + 2 * kPad;  // a card holds a picture
constexpr int kMargin = 44, kTop = 150, kRow = 102, kRightCards = 9, kWrongCards = 8, kNames = 188;
constexpr int kStepRight = kCard60 + 8, kStepWrong = kCard60 + 16;
constexpr int kWrongAt = kMargin + kNames + kRightCards * kStepRight + 36;
constexpr int kWidth = kWrongAt + kWrongCards * kStepWrong - 16 + kMargin;
constexpr int kHeight = kTop + static_cast<int>(kClasses) * kRow + 36;

class Font {
 public:
  explicit Font(const std::string& path) {
    std::ifstream in(path, std::ios::binary);
    bytes_.assign(std::istreambuf_iterator<char>(in), {});
    const auto* data = reinterpret_cast<const unsigned char*>(bytes_.data());
    if (bytes_.empty() || stbtt_InitFont(&info_, data, 0) == 0) {
      throw std::runtime_error(path + ": cannot be read (it comes with the Debian package fonts-dejavu-core)");
    }
  }
  const stbtt_fontinfo& info() const { return info_; }

 private:
  std::string bytes_;
  stbtt_fontinfo info_;
};

class Canvas {
 public:
  Canvas() : pixels_(static_cast<size_t>(kWidth) * kHeight, kPaper) {}

  void Blend(int x, int y, const Colour& c, float alpha) {
    if (x < 0 || y < 0 || x >= kWidth || y >= kHeight) return;
    Colour& p = pixels_[static_cast<size_t>(y) * kWidth + static_cast<size_t>(x)];
    p = {p.r + (c.r - p.r) * alpha, p.g + (c.g - p.g) * alpha, p.b + (c.b - p.b) * alpha};
  }

  // Corners are arcs, edges are smooth: the alpha of a pixel is its distance to the border, within one pixel.
  void RoundedBox(float x, float y, float w, float h, float radius, const Colour& c) {
    for (int py = static_cast<int>(y) - 1; py <= static_cast<int>(y + h) + 1; ++py) {
      for (int px = static_cast<int>(x) - 1; px <= static_cast<int>(x + w) + 1; ++px) {
        const float dx = std::fabs(static_cast<float>(px) + 0.5f - x - w / 2) - w / 2 + radius;
        const float dy = std::fabs(static_cast<float>(py) + 0.5f - y - h / 2) - h / 2 + radius;
        const float distance =
            std::hypot(std::max(dx, 0.0f), std::max(dy, 0.0f)) + std::min(std::max(dx, dy), 0.0f) - radius;
        Blend(px, py, c, std::clamp(0.5f - distance, 0.0f, 1.0f));
      }
    }
  }

  // Text with its baseline at y; centred or set to the right of x where `align` is 0.5 or 1.
  void Text(const Font& font, float size, float x, float y, const std::string& text, const Colour& c, float align = 0) {
    const float scale = stbtt_ScaleForPixelHeight(&font.info(), size);
    if (align > 0) x -= align * Walk(font, scale, text, [](int, float) {});
    Walk(font, scale, text, [&](int letter, float at) {
      const float left = x + at, whole = std::floor(left);
      int w = 0, h = 0, dx = 0, dy = 0;
      unsigned char* bitmap =
          stbtt_GetCodepointBitmapSubpixel(&font.info(), scale, scale, left - whole, 0, letter, &w, &h, &dx, &dy);
      for (int i = 0; i < w * h; ++i) {
        Blend(static_cast<int>(whole) + dx + i % w, static_cast<int>(y) + dy + i / w, c,
              static_cast<float>(bitmap[i]) / 255.0f);
      }
      stbtt_FreeBitmap(bitmap, nullptr);
    });
  }

  // A picture of the data set on a card with a frame; dark on light.
  void Card(int x, int y, const uint8_t* picture, const Colour& frame, const Colour& card) {
    const auto fx = static_cast<float>(x), fy = static_cast<float>(y), side = static_cast<float>(kCard60);
    RoundedBox(fx, fy, side, side, 8, frame);
    RoundedBox(fx + 1.5f, fy + 1.5f, side - 3, side - 3, 6.5f, card);
    std::array<unsigned char, static_cast<size_t>(kPicture) * kPicture> large;
    constexpr int kFrom = static_cast<int>(kSide);
    stbir_resize_uint8(picture, kFrom, kFrom, 0, large.data(), kPicture, kPicture, 0, 1);
    for (int i = 0; i < kPicture * kPicture; ++i) {
      const float ink = static_cast<float>(large[static_cast<size_t>(i)]) / 255.0f;
      Blend(x + kPad + i % kPicture, y + kPad + i / kPicture, kInk, 0.94f * std::pow(ink, 0.85f));
    }
  }

  std::string Png() const {
    std::vector<unsigned char> bytes;
    bytes.reserve(pixels_.size() * 3);
    for (const Colour& p : pixels_) {
      for (const float v : {p.r, p.g, p.b}) bytes.push_back(static_cast<unsigned char>(v + 0.5f));
    }
    std::string png;
    const auto append = [](void* to, void* data, int size) {
      static_cast<std::string*>(to)->append(static_cast<const char*>(data), static_cast<size_t>(size));
    };
    if (stbi_write_png_to_func(append, &png, kWidth, kHeight, 3, bytes.data(), kWidth * 3) == 0) {
      throw std::runtime_error("no memory for the contact sheet");
    }
    return png;
  }

 private:
  // Calls visit(letter, x) for each letter of an ASCII text; the text's width.
  template <class Visit>
  static float Walk(const Font& font, float scale, const std::string& text, const Visit& visit) {
    float x = 0;
    for (size_t i = 0; i < text.size(); ++i) {
      int advance = 0, bearing = 0;
      stbtt_GetCodepointHMetrics(&font.info(), text[i], &advance, &bearing);
      visit(text[i], x);
      const int kern = i + 1 < text.size() ? stbtt_GetCodepointKernAdvance(&font.info(), text[i], text[i + 1]) : 0;
      x += scale * static_cast<float>(advance + kern);
    }
    return x;
  }

  std::vector<Colour> pixels_;
};

std::string Percent(size_t part, size_t whole, int digits) {
  char text[32];
  std::snprintf(text, sizeof(text), "%.*f %%", digits,
                100.0 * static_cast<double>(part) / static_cast<double>(std::max<size_t>(whole, 1)));
  return text;
}

}  // namespace

std::string DrawContactSheet(const Pictures& pictures, std::span<const Answer> answers, const std::string& note) {
  const Font plain(LUTRA_FONTS "/DejaVuSans.ttf"), bold(LUTRA_FONTS "/DejaVuSans-Bold.ttf");
  Canvas canvas;

  std::array<std::vector<size_t>, kClasses> right, wrong;
  for (size_t i = 0; i < answers.size(); ++i) {
    const uint8_t label = pictures.labels[i];
    (answers[i].label == label ? right : wrong)[label].push_back(i);
  }
  size_t all_right = 0;
  for (const std::vector<size_t>& r : right) all_right += r.size();

  constexpr float kRightEdge = kWidth - kMargin;
  canvas.Text(bold, 40, kMargin, 74, "Fashion-MNIST", kInk);
  canvas.Text(plain, 17, kMargin, 102, note, kGrey);
  canvas.Text(bold, 40, kRightEdge, 74, Percent(all_right, answers.size(), 2), kRight, 1);
  canvas.Text(plain, 17, kRightEdge, 102,
              std::to_string(all_right) + " of " + std::to_string(answers.size()) + " pictures recognised", kGrey, 1);
  canvas.Text(bold, 14, kMargin + kNames, kTop - 16, "RIGHT", kRight);
  canvas.Text(bold, 14, kWrongAt, kTop - 16, "WRONG", kWrong);
  canvas.Text(plain, 14, kWrongAt + 64, kTop - 16, "the surest first; below each what it was taken for", kGrey);

  for (size_t label = 0; label < kClasses; ++label) {
    const int y = kTop + static_cast<int>(label) * kRow;
    const float text_y = static_cast<float>(y);
    canvas.RoundedBox(kMargin, text_y - 8, kWidth - 2 * kMargin, 1, 0, kLine);
    const size_t total = right[label].size() + wrong[label].size();
    canvas.Text(bold, 21, kMargin, text_y + 24, kClassNames[label], kInk);
    canvas.Text(plain, 15, kMargin, text_y + 45, Percent(right[label].size(), total, 1) + " right", kGrey);
    constexpr float kBar = kNames - 40;
    canvas.RoundedBox(kMargin, text_y + 56, kBar, 6, 3, {240, 205, 198});
    if (total > 0 && !right[label].empty()) {
      const float part = static_cast<float>(right[label].size()) / static_cast<float>(total);
      canvas.RoundedBox(kMargin, text_y + 56, std::max(6.0f, kBar * part), 6, 3, kRight);
    }
    for (size_t i = 0; i < std::min<size_t>(kRightCards, right[label].size()); ++i) {
      canvas.Card(kMargin + kNames + static_cast<int>(i) * kStepRight, y, &pictures.pixels[right[label][i] * kPixels],
                  {206, 222, 212}, kCard);
    }
    std::sort(wrong[label].begin(), wrong[label].end(),
              [&](size_t a, size_t b) { return answers[a].confidence > answers[b].confidence; });
    for (size_t i = 0; i < std::min<size_t>(kWrongCards, wrong[label].size()); ++i) {
      const size_t picture = wrong[label][i];
      const int x = kWrongAt + static_cast<int>(i) * kStepWrong;
      canvas.Card(x, y, &pictures.pixels[picture * kPixels], kWrong, kWrongCard);
      canvas.Text(plain, 13, static_cast<float>(x) + kCard60 / 2.0f, text_y + kCard60 + 14,
                  kClassNames[answers[picture].label], kWrong, 0.5f);
    }
  }
  return canvas.Png();
}
