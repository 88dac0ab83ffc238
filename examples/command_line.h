// What the command lines of the examples share.
#pragma once
#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <exception>
#include <string>
#include <thread>

#include "lutra/targets.h"

struct CommonOptions {
  std::string output, target;
  size_t threads = std::max(1u, std::thread::hardware_concurrency());
  bool quiet = false;
};

// --output, --target, --threads and --quiet; `what` is what is written to the output.
inline void AddCommonOptions(CLI::App& app, const std::string& what, CommonOptions* options) {
  std::string targets;
  for (const lutra::Target& t : lutra::Targets()) targets += (targets.empty() ? "" : ", ") + std::string(t.name);
  app.add_option("--output", options->output, what)->type_name("FILE");
  app.add_option("--target", options->target, "SIMD target instead of the best: " + targets)->type_name("NAME");
  app.add_option("--threads", options->threads, "threads of the second run")->check(CLI::Range(1, 1024));
  app.add_flag("--quiet", options->quiet, "print nothing but errors");
}

// Parses, then run(). What fails is one line to stderr, whatever the names and bytes in it, and the exit code `failed`.
template <class Run>
int ParseAndRun(CLI::App& app, int argc, char** argv, const char* name, int failed, const Run& run) {
  const auto fail = [&](std::string message) {
    for (char& c : message) c = static_cast<unsigned char>(c) < 32 || c == 127 ? ' ' : c;
    std::fprintf(stderr, "%s: %s\n", name, message.c_str());
    return failed;
  };
  try {
    app.parse(argc, argv);
  } catch (const CLI::CallForHelp& help) {
    return app.exit(help);
  } catch (const CLI::ParseError& e) {
    return fail(std::string(e.what()) + " (--help lists the options)");
  }
  try {
    run();
  } catch (const std::exception& e) {
    return fail(e.what());
  }
  return 0;
}
