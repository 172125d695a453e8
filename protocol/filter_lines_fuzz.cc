// Lines of a filter are the same however they are cut, are taken or refused
// without harm, and what is said to it is one line, whatever a client sent.
#include <algorithm>
#include <cstdint>
#include <string>
#include <vector>

#include "protocol/filter_lines.h"

namespace {

using holdfast::FilterEvent;
using holdfast::FilterLineReader;
using holdfast::FilterPhase;
using holdfast::FilterProtocol;
using holdfast::SessionId;

std::vector<std::string> Read(absl::string_view bytes, size_t piece) {
  FilterLineReader reader;
  std::vector<std::string> lines;
  for (size_t at = 0; at < bytes.size(); at += piece) {
    const bool more =
        reader.Read(bytes.substr(at, piece), [&](absl::string_view line) {
          lines.emplace_back(line);
          return true;
        });
    if (!more) __builtin_trap();
  }
  return lines;
}

void CheckOneLine(const std::string& line, int least_bars) {
  if (std::count(line.begin(), line.end(), '\n') != 1 || line.back() != '\n')
    __builtin_trap();
  if (std::count(line.begin(), line.end(), '|') < least_bars) __builtin_trap();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 1) return 0;
  const absl::string_view bytes(reinterpret_cast<const char*>(data) + 1,
                                size - 1);
  const std::vector<std::string> lines = Read(bytes, 1 + data[0] % 16);
  if (lines != Read(bytes, bytes.size() + 1)) __builtin_trap();
  for (const std::string& line : lines) {
    const auto parsed = holdfast::ParseFilterLine(line);
    if (!parsed.ok() && parsed.status().message().empty()) __builtin_trap();
  }
  const std::string text(bytes);
  for (const FilterProtocol protocol :
       {FilterProtocol::k05, FilterProtocol::k06, FilterProtocol::k07}) {
    std::string out;
    holdfast::AppendFilterReport(protocol, absl::UnixEpoch(), false,
                                 FilterEvent::kTxRcpt, SessionId(1),
                                 {text, text, text}, &out);
    CheckOneLine(out, 8);
    out.clear();
    holdfast::AppendFilterRequest(protocol, absl::UnixEpoch(),
                                  FilterPhase::kEhlo, SessionId(1), 1, text,
                                  &out);
    CheckOneLine(out, 7);
  }
  return 0;
}
