// power-cut-replay: makes the image of a disk as it is after a power cut.
//
//   power-cut-replay [--markers OFFSET] LOG
//       one line for each entry: number, offset, length, "flush", "marker"
//   power-cut-replay --cut N --mode MODE --seed S [--markers OFFSET] LOG IMAGE
//       applies to IMAGE (as it was before the log) what is there after the
//       first N entries
//
// Exit: 0; 1 an error; 2 usage.
#include <cstdint>
#include <cstdio>
#include <string>

#include "absl/status/status.h"
#include "ctl/load/flags.h"
#include "ctl/load/write_log.h"

namespace holdfast {
namespace {

constexpr int kUsageError = 2;

void List(const WriteLog& log, uint64_t markers) {
  size_t number = 0;
  for (const WriteLogEntry& entry : log.entries()) {
    printf("%zu %llu %llu%s%s\n", ++number,
           static_cast<unsigned long long>(entry.offset),
           static_cast<unsigned long long>(entry.length),
           entry.flush ? " flush" : "",
           entry.length > 0 && entry.offset >= markers ? " marker" : "");
  }
}

int Main(int argc, char** argv) {
  int64_t cut = 0;
  int64_t seed = 1;
  int64_t markers = INT64_MAX;
  std::string mode_text = "none";
  Flags flags("power-cut-replay [options] LOG [IMAGE]");
  flags.Number("cut", &cut, "entries before the power cut");
  flags.Number("seed", &seed, "of the choice of writes");
  flags.Number("markers", &markers, "offset from which on writes are markers");
  flags.Text("mode", &mode_text, "none, all, half, torn or prefix");
  const auto words = flags.Parse(argc, argv);
  const auto mode = ParseCutMode(mode_text);
  if (!words.ok() || !mode.ok() || words->empty() || words->size() > 2) {
    fprintf(stderr, "%s", flags.Help().c_str());
    return kUsageError;
  }
  const auto log = WriteLog::Open((*words)[0]);
  absl::Status status = log.status();
  if (status.ok() && words->size() == 1) {
    List(*log, markers);
  } else if (status.ok()) {
    status = log->Replay((*words)[1], cut, *mode, seed, markers);
  }
  if (status.ok()) return 0;
  fprintf(stderr, "power-cut-replay: %s\n", status.ToString().c_str());
  return 1;
}

}  // namespace
}  // namespace holdfast

int main(int argc, char** argv) { return holdfast::Main(argc, argv); }
