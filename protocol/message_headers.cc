#include "protocol/message_headers.h"

#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "protocol/address_completion.h"
#include "protocol/mail_date.h"

namespace holdfast {

MessageHeaders::MessageHeaders(HeaderOptions options)
    : options_(std::move(options)) {}

MessageHeaders::Verdict MessageHeaders::verdict() const {
  if (received_ >= kMaxReceivedHeaders) return Verdict::kLoop;
  return malformed_ ? Verdict::kMalformed : Verdict::kOk;
}

void MessageHeaders::Write(absl::string_view text, std::string* out) {
  while (!text.empty()) {
    if (state_ == State::kBody) {
      absl::StrAppend(out, text);
      return;
    }
    const size_t end = text.find('\n');
    if (end == text.npos) {
      absl::StrAppend(&line_, text);
      return;
    }
    const absl::string_view rest_of_line = text.substr(0, end);
    if (line_.empty()) {
      OnLine(rest_of_line, out);
    } else {
      absl::StrAppend(&line_, rest_of_line);
      const std::string line = std::exchange(line_, std::string());
      OnLine(line, out);
    }
    text.remove_prefix(end + 1);
  }
}

void MessageHeaders::Finish(std::string* out) {
  if (state_ == State::kBody) return;
  if (!line_.empty()) {
    const std::string line = std::exchange(line_, std::string());
    OnLine(line, out);
    if (state_ == State::kBody) return;
  }
  EndField(out);
  EndHeaders(out);
}

void MessageHeaders::OnLine(absl::string_view line, std::string* out) {
  if (line.empty()) {
    EndField(out);
    EndHeaders(out);
    out->push_back('\n');
    return;
  }
  if (line.front() == ' ' || line.front() == '\t') {
    OnContinuation(line, out);
    return;
  }
  EndField(out);
  const size_t colon = line.find(':');
  if (colon == line.npos || colon > kMaxHeaderNameBytes) {
    malformed_ = true;
    return;
  }
  OnHeader(line, line.substr(0, colon), out);
}

void MessageHeaders::OnContinuation(absl::string_view line, std::string* out) {
  switch (state_) {
    case State::kStart:
      malformed_ = true;
      break;
    case State::kPassed:
      absl::StrAppend(out, line, "\n");
      break;
    case State::kAddresses:
    case State::kFrom:
      if (field_.size() + line.size() >= kMaxAddressHeaderBytes) {
        malformed_ = true;
        break;
      }
      absl::StrAppend(&field_, line, "\n");
      break;
    case State::kRemoved:
    case State::kBody:
      break;
  }
}

void MessageHeaders::OnHeader(absl::string_view line, absl::string_view name,
                              std::string* out) {
  const auto is = [name](absl::string_view other) {
    return absl::EqualsIgnoreCase(name, other);
  };
  if (is("Bcc")) {
    state_ = State::kRemoved;
    return;
  }
  if (is("From") || is("To") || is("Cc")) {
    state_ = is("From") && !options_.masquerade.empty() ? State::kFrom
                                                        : State::kAddresses;
    if (line.size() >= kMaxAddressHeaderBytes) malformed_ = true;
    field_ = absl::StrCat(line, "\n");
    return;
  }
  if (is("Received")) ++received_;
  if (is("Date")) has_date_ = true;
  if (is("Message-ID")) has_message_id_ = true;
  state_ = State::kPassed;
  absl::StrAppend(out, line, "\n");
}

void MessageHeaders::EndField(std::string* out) {
  if (state_ != State::kAddresses && state_ != State::kFrom) return;
  const size_t colon = field_.find(':') + 1;
  const absl::string_view value = absl::string_view(field_).substr(colon);
  out->append(field_, 0, colon);
  if (state_ == State::kFrom)
    ReplaceAddresses(value, options_.masquerade, out);
  else
    CompleteAddresses(value, options_.domain, out);
  field_.clear();
}

void MessageHeaders::EndHeaders(std::string* out) {
  state_ = State::kBody;
  if (!options_.add_missing) return;
  if (!has_date_) {
    absl::StrAppend(out, "Date: ", FormatMailDate(options_.now, options_.zone),
                    "\n");
  }
  if (!has_message_id_) {
    absl::StrAppend(
        out, absl::StrFormat("Message-ID: <%016x@%s>\n",
                             options_.message_id_number, options_.domain));
  }
}

}  // namespace holdfast
