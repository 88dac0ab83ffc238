// A contact sheet: what the network got right and what it got wrong, a row for each class.
#pragma once
#include <span>
#include <string>

#include "fashion_mnist.h"

struct Answer {
  uint8_t label = 0;       // the class
  float confidence = 0.0;  // its probability
};

// The sheet as the bytes of a PNG. answers: of the first so many pictures. note: a line below the title. Throws
// std::runtime_error where the fonts (Debian's fonts-dejavu-core) are missing.
std::string DrawContactSheet(const Pictures& pictures, std::span<const Answer> answers, const std::string& note);
