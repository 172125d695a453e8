#include "ctl/load/sink_plan.h"

#include <utility>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"

namespace holdfast {
namespace {

constexpr const char* kStageNames[kSinkStages] = {
    "connect", "ehlo", "mail", "rcpt", "data", "end", "rset", "quit"};

absl::Status Wrong(absl::string_view text) {
  return absl::InvalidArgumentError(absl::StrCat("can't read ", text));
}

// Splits "stage=rest".
bool FindStage(absl::string_view text, SinkStage* stage, std::string* rest) {
  const std::pair<std::string, std::string> parts =
      absl::StrSplit(text, absl::MaxSplits('=', 1));
  for (size_t i = 0; i < kSinkStages; ++i) {
    if (parts.first != kStageNames[i]) continue;
    *stage = static_cast<SinkStage>(i);
    *rest = parts.second;
    return true;
  }
  return false;
}

}  // namespace

absl::Status SinkPlan::SetAnswer(absl::string_view text) {
  SinkStage stage;
  std::string rest;
  if (!FindStage(text, &stage, &rest)) return Wrong(text);
  const std::pair<std::string, std::string> parts =
      absl::StrSplit(rest, absl::MaxSplits('/', 1));
  SinkAnswer& answer = answers[static_cast<size_t>(stage)];
  if (parts.first == "drop") {
    answer.kind = SinkAnswer::Kind::kDrop;
  } else if (parts.first == "hang") {
    answer.kind = SinkAnswer::Kind::kHang;
  } else if (parts.first == "lose" && stage == SinkStage::kEnd) {
    answer.kind = SinkAnswer::Kind::kLose;
  } else if (absl::SimpleAtoi(parts.first, &answer.code) &&
             answer.code >= 200 && answer.code <= 599) {
    answer.kind = SinkAnswer::Kind::kCode;
  } else {
    return Wrong(text);
  }
  if (parts.second.empty()) return absl::OkStatus();
  double percent = 0;
  if (!absl::SimpleAtod(absl::StripSuffix(parts.second, "%"), &percent) ||
      percent < 0 || percent > 100) {
    return Wrong(text);
  }
  answer.share = percent / 100;
  return absl::OkStatus();
}

absl::Status SinkPlan::SetDelay(absl::string_view text) {
  SinkStage stage;
  std::string rest;
  int64_t delay = 0;
  if (!FindStage(text, &stage, &rest) || !absl::SimpleAtoi(rest, &delay) ||
      delay < 0) {
    return Wrong(text);
  }
  answers[static_cast<size_t>(stage)].delay_ms = delay;
  return absl::OkStatus();
}

}  // namespace holdfast
