#include "protocol/attempts.h"

#include <iterator>
#include <string>
#include <utility>

namespace holdfast {
namespace {

// Times, result and lengths.
constexpr size_t kFixedBytes = 24;
constexpr char kCutMark[] = "...";

void Cut(size_t limit, std::string* text) {
  if (text->size() <= limit) return;
  text->resize(limit - (sizeof kCutMark - 1));
  text->append(kCutMark);
}

}  // namespace

size_t AttemptBytes(const Attempt& attempt) {
  return kFixedBytes + attempt.source.size() + attempt.relay.size() +
         attempt.tls.size() + attempt.answer.size();
}

void AddAttempt(Attempt attempt, std::vector<Attempt>* attempts) {
  Cut(kMaxAttemptWord, &attempt.source);
  Cut(kMaxAttemptWord, &attempt.relay);
  Cut(kMaxAttemptWord, &attempt.tls);
  Cut(kMaxAttemptAnswer, &attempt.answer);
  size_t bytes = AttemptBytes(attempt);
  auto first = attempts->end();
  while (first != attempts->begin()) {
    bytes += AttemptBytes(*std::prev(first));
    if (bytes > kMaxAttemptsBytes) break;
    --first;
  }
  attempts->erase(attempts->begin(), first);
  attempts->push_back(std::move(attempt));
}

absl::string_view AttemptResultWord(Attempt::Result result) {
  switch (result) {
    case Attempt::Result::kOk:
      return "Ok";
    case Attempt::Result::kTempFail:
      return "TempFail";
    case Attempt::Result::kPermFail:
      return "PermFail";
    case Attempt::Result::kLoop:
      return "Loop";
    case Attempt::Result::kInDoubt:
      return "InDoubt";
  }
  return "?";
}

}  // namespace holdfast
