// Whatever an operator types ends in a filter or in three lines that point at
// the place; a filter answers for any envelope, and never against its hints.
#include <algorithm>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/str_split.h"
#include "protocol/envelope_filter.h"

namespace {

using holdfast::EnvelopeFacts;

const absl::Time kNow = absl::FromUnixSeconds(1'800'000'000);

EnvelopeFacts Sample(uint32_t n) {
  EnvelopeFacts facts;
  holdfast::Envelope& e = facts.envelope;
  e.id = holdfast::MakeEnvelopeId(holdfast::MessageId{0x1a2b3c4d + n}, 7);
  e.action = n % 2 ? "relay" : "local";
  e.sender = {"joe", "example.org"};
  e.dest = e.rcpt = {"user", n % 2 ? "example.org" : "example.net"};
  e.created = kNow - absl::Hours(n * 5);
  e.expires = e.created + absl::Hours(96);
  e.retry = n;
  e.flags = n == 3 ? holdfast::kFlagHeld : holdfast::kFlagTls;
  if (n > 0) e.status = holdfast::EnhancedStatus::Make(4, 4, 1);
  facts.size = n * 1000;
  facts.destination = e.dest.domain;
  if (n != 3) facts.due = kNow + absl::Minutes(n);
  facts.state = holdfast::StateOf(e, n == 2, facts.due, kNow);
  facts.error = n > 0 ? "421 try\xff again" : "";
  return facts;
}

template <class List, class Value>
void CheckHas(const List& list, const Value& value) {
  if (list && !std::binary_search(list->begin(), list->end(), value))
    __builtin_trap();
}

void CheckHints(const holdfast::FilterHints& hints, const EnvelopeFacts& f) {
  CheckHas(hints.ids, f.envelope.id);
  CheckHas(hints.messages, MessageOf(f.envelope.id));
  CheckHas(hints.domains, absl::AsciiStrToLower(f.envelope.dest.domain));
  CheckHas(hints.destinations, absl::AsciiStrToLower(f.destination));
  if (hints.due_until && (!f.due || *f.due > *hints.due_until))
    __builtin_trap();
  if (hints.held && f.envelope.flags != holdfast::kFlagHeld) __builtin_trap();
}

void CheckError(absl::string_view message) {
  const std::vector<std::string> lines = absl::StrSplit(message, '\n');
  if (lines.size() != 3 || lines[2].back() != '^') __builtin_trap();
  for (const char c : message)
    if (absl::ascii_iscntrl(static_cast<unsigned char>(c)) && c != '\n')
      __builtin_trap();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const absl::string_view text(reinterpret_cast<const char*>(data), size);
  const auto filter = holdfast::EnvelopeFilter::Parse(text, kNow);
  if (!filter.ok()) {
    CheckError(std::string(filter.status().message()));
    return 0;
  }
  for (uint32_t n = 0; n < 5; ++n) {
    const EnvelopeFacts facts = Sample(n);
    if (filter->Matches(facts)) CheckHints(filter->hints(), facts);
  }
  return 0;
}
