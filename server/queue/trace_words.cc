#include "server/queue/trace_words.h"

#include <algorithm>
#include <iterator>

#include "server/log/log.h"

namespace holdfast {
namespace {

constexpr char kAll[] = "all";
constexpr absl::string_view kSubsystems[] = {
    "imsg",      "io",   "smtp",  "filters", "mta",    "bounce", "lookup",
    "scheduler", "stat", "rules", "mproc",   "expand", kAll};

}  // namespace

bool TraceWords::IsKnown(absl::string_view subsystem) {
  return std::find(std::begin(kSubsystems), std::end(kSubsystems), subsystem) !=
         std::end(kSubsystems);
}

void TraceWords::SetVerbose(bool verbose) {
  verbose_ = verbose;
  traced_.clear();
}

void TraceWords::Untrace(const std::string& subsystem) {
  if (subsystem == kAll)
    traced_.clear();
  else
    traced_.erase(subsystem);
}

TraceWords& TraceWordsOfProcess() {
  static TraceWords* const words = new TraceWords(LogIsVerbose());
  return *words;
}

}  // namespace holdfast
