#include "server/deliver/delivery_text.h"

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "protocol/header_watch.h"
#include "protocol/vis.h"

namespace holdfast {
namespace {

constexpr size_t kMaxReasonBytes = 250;

// An address stands on one line, whatever is in it.
std::string OnOneLine(std::string text) {
  for (char& c : text) {
    if (c == '\n' || c == '\r' || c == '\0') c = '?';
  }
  return text;
}

}  // namespace

std::string ErrorText(absl::string_view kind, absl::string_view reason) {
  return absl::StrCat("Error (", kind, kind.empty() ? "" : ": ", reason, ")");
}

std::string Quoted(absl::string_view text) {
  return absl::StrCat("\"", VisEncode(text.substr(0, kMaxReasonBytes)), "\"");
}

std::string ReturnPath(const MailAddress& sender) {
  if (sender.IsNull()) return "";
  return absl::StrCat("Return-Path: <", OnOneLine(sender.ToString()), ">\n");
}

std::string TraceHeader(const MailAddress& sender, const MailAddress& rcpt) {
  return absl::StrCat(ReturnPath(sender),
                      "Delivered-To: ", OnOneLine(rcpt.ToString()), "\n");
}

std::string MaildirFileName(absl::Time created, absl::string_view store_uuid,
                            EnvelopeId envelope, absl::string_view host) {
  std::string name = absl::StrCat(absl::ToUnixSeconds(created), ".", store_uuid,
                                  ".", ToString(envelope), ".");
  for (const char c : host) {
    // As maildir(5) has it: these two have a meaning in a file's name.
    if (c == '/') {
      name += "\\057";
    } else if (c == ':') {
      name += "\\072";
    } else {
      name += c;
    }
  }
  return name;
}

bool HeaderIsComplete(absl::string_view text) {
  return absl::StartsWith(text, "\n") || absl::StrContains(text, "\n\n");
}

bool HasDeliveredTo(absl::string_view text, const MailAddress& dest) {
  bool found = false;
  HeaderWatch watch([&](absl::string_view line) {
    found = found || HeaderLineIs(line, "Delivered-To", dest.ToString());
  });
  watch.Feed(text);
  return found;
}

}  // namespace holdfast
