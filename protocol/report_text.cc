#include "protocol/report_text.h"

#include <algorithm>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "protocol/xtext.h"

namespace holdfast {
namespace {

constexpr ReportAction kActions[] = {
    ReportAction::kFailed, ReportAction::kDelayed, ReportAction::kDelivered,
    ReportAction::kRelayed};

struct VariableName {
  absl::string_view name;
  ReportVariable variable;
};
constexpr VariableName kVariables[] = {
    {"action", ReportVariable::kAction},
    {"arrival", ReportVariable::kArrival},
    {"delay", ReportVariable::kDelay},
    {"envid", ReportVariable::kEnvid},
    {"reason", ReportVariable::kReason},
    {"recipients", ReportVariable::kRecipients},
    {"sender", ReportVariable::kSender},
    {"smtpname", ReportVariable::kSmtpname},
    {"ttl", ReportVariable::kTtl},
};

constexpr absl::string_view kSubject = "Subject:";
constexpr absl::string_view kOpen = "%{";

// RFC 2047 section 2: an encoded word has at most 75 characters.
constexpr absl::string_view kWordStart = "=?utf-8?B?";
constexpr absl::string_view kWordEnd = "?=";
constexpr size_t kMaxWordOctets = 45;

std::optional<ReportVariable> FindVariable(absl::string_view name) {
  for (const VariableName& known : kVariables) {
    if (known.name == name) return known.variable;
  }
  return std::nullopt;
}

// How much of `text` goes into `limit` octets without parting a character.
size_t Fitting(absl::string_view text, size_t limit) {
  if (text.size() <= limit) return text.size();
  size_t end = limit;
  while (end > 0 && (text[end] & 0xc0) == 0x80) --end;
  return end == 0 ? limit : end;
}

void AppendText(absl::string_view text, std::vector<ReportPiece>* pieces) {
  if (pieces->empty() || !std::holds_alternative<std::string>(pieces->back())) {
    pieces->emplace_back(std::string());
  }
  std::get<std::string>(pieces->back()).append(text.data(), text.size());
}

// Puts one file together.
class TextParser {
 public:
  std::variant<std::map<ReportAction, ReportWords>, ReportTextError> Parse(
      absl::string_view text) {
    while (!text.empty()) {
      ++number_;
      const size_t end = std::min(text.find('\n'), text.size());
      absl::string_view line = text.substr(0, end);
      text.remove_prefix(std::min(end + 1, text.size()));
      absl::ConsumeSuffix(&line, "\r");
      if (!Line(line)) return *error_;
    }
    if (!EndSection()) return *error_;
    return std::move(words_);
  }

 private:
  bool Fail(std::string what) {
    error_ = ReportTextError{number_, std::move(what)};
    return false;
  }

  bool Line(absl::string_view line) {
    if (line.size() > ReportText::kMaxLine) {
      return Fail(
          absl::StrCat("line longer than ", ReportText::kMaxLine, " octets"));
    }
    std::string plain(line);
    std::replace(plain.begin(), plain.end(), '\t', ' ');
    if (!IsValidUtf8(plain)) {
      return Fail("neither UTF-8 nor without control characters");
    }
    if (line.size() > 2 && line.front() == '[' && line.back() == ']') {
      return EndSection() && Section(line.substr(1, line.size() - 2));
    }
    if (section_ == nullptr) {
      line = absl::StripAsciiWhitespace(line);
      if (line.empty() || line.front() == '#') return true;
      return Fail("text before the first section");
    }
    if (first_line_ && absl::StartsWithIgnoreCase(line, kSubject)) {
      first_line_ = false;
      line = absl::StripAsciiWhitespace(line.substr(kSubject.size()));
      if (line.empty()) return Fail("empty subject");
      return Pieces(line, &section_->subject);
    }
    first_line_ = false;
    if (!Pieces(line, &section_->body)) return false;
    AppendText("\n", &section_->body);
    has_text_ |= !absl::StripAsciiWhitespace(line).empty();
    return true;
  }

  bool Section(absl::string_view name) {
    for (const ReportAction action : kActions) {
      if (ActionWord(action) != name) continue;
      const auto [place, added] = words_.try_emplace(action);
      if (!added) return Fail(absl::StrCat("second section [", name, "]"));
      section_ = &place->second;
      section_line_ = number_;
      first_line_ = true;
      has_text_ = false;
      variables_ = 0;
      return true;
    }
    return Fail(absl::StrCat("unknown section [", name,
                             "]: failed, delayed, delivered, relayed"));
  }

  // Empty lines around the text are for the eye of who writes the file.
  bool EndSection() {
    if (section_ == nullptr) return true;
    std::vector<ReportPiece>& body = section_->body;
    if (!has_text_) {
      number_ = section_line_;
      return Fail("section without text");
    }
    if (auto* const first = std::get_if<std::string>(&body.front())) {
      first->erase(0, std::min(first->find_first_not_of('\n'), first->size()));
    }
    // It ends with text, the newline of its last line at least.
    std::string& last = std::get<std::string>(body.back());
    last.erase(last.find_last_not_of('\n') + 1);
    last += '\n';
    return true;
  }

  bool Pieces(absl::string_view text, std::vector<ReportPiece>* out) {
    const bool alone = absl::StripAsciiWhitespace(text) == "%{recipients}";
    while (!text.empty()) {
      if (absl::ConsumePrefix(&text, "%%")) {
        AppendText("%", out);
      } else if (absl::ConsumePrefix(&text, kOpen)) {
        if (!Variable(&text, alone, out)) return false;
      } else {
        AppendText(text.substr(0, 1), out);
        text.remove_prefix(1);
      }
    }
    return true;
  }

  bool Variable(absl::string_view* text, bool alone,
                std::vector<ReportPiece>* out) {
    const size_t end = text->find('}');
    if (end == absl::string_view::npos) return Fail("'%{' without '}'");
    const absl::string_view name = text->substr(0, end);
    text->remove_prefix(end + 1);
    const std::optional<ReportVariable> variable = FindVariable(name);
    if (!variable) {
      std::string what = absl::StrCat("unknown variable %{", name, "}:");
      for (const VariableName& known : kVariables) {
        absl::StrAppend(&what, " ", known.name);
      }
      return Fail(std::move(what));
    }
    if (*variable == ReportVariable::kRecipients &&
        (!alone || out != &section_->body)) {
      return Fail("%{recipients} must stand alone in a line of the text");
    }
    if (++variables_ > ReportText::kMaxVariables) {
      return Fail(absl::StrCat("more than ", ReportText::kMaxVariables,
                               " variables in a section"));
    }
    // Each may be long.
    if (*variable == ReportVariable::kRecipients &&
        std::count(out->begin(), out->end(), ReportPiece(*variable)) > 0) {
      return Fail("second %{recipients} in a section");
    }
    out->emplace_back(*variable);
    return true;
  }

  std::map<ReportAction, ReportWords> words_;
  std::optional<ReportTextError> error_;
  int number_ = 0;
  ReportWords* section_ = nullptr;
  int section_line_ = 0;
  bool first_line_ = false;  // the next line is the section's first
  bool has_text_ = false;
  size_t variables_ = 0;
};

std::string Render(const std::vector<ReportPiece>& pieces,
                   ReportValues values) {
  std::string out;
  for (const ReportPiece& piece : pieces) {
    if (const auto* const text = std::get_if<std::string>(&piece)) {
      out += *text;
    } else {
      out += values(std::get<ReportVariable>(piece));
    }
  }
  return out;
}

bool IsPlain(absl::string_view text) {
  for (const char c : text) {
    if (!absl::ascii_isprint(static_cast<unsigned char>(c))) return false;
  }
  return true;
}

}  // namespace

absl::string_view ActionWord(ReportAction action) {
  switch (action) {
    case ReportAction::kFailed:
      return "failed";
    case ReportAction::kDelayed:
      return "delayed";
    case ReportAction::kDelivered:
      return "delivered";
    case ReportAction::kRelayed:
      return "relayed";
  }
  return "failed";
}

std::variant<ReportText, ReportTextError> ReportText::Parse(
    absl::string_view text) {
  if (text.size() > kMaxBytes) {
    return ReportTextError{
        1, absl::StrCat("file larger than ", kMaxBytes, " octets")};
  }
  auto parsed = TextParser().Parse(text);
  if (auto* const error = std::get_if<ReportTextError>(&parsed)) {
    return std::move(*error);
  }
  ReportText result;
  result.words_ =
      std::get<std::map<ReportAction, ReportWords>>(std::move(parsed));
  if (result.words_.empty()) return ReportTextError{1, "no section"};
  return result;
}

const ReportWords* ReportText::For(ReportAction action) const {
  const auto place = words_.find(action);
  return place == words_.end() ? nullptr : &place->second;
}

std::string WrapLongLines(absl::string_view text) {
  std::string out;
  while (!text.empty()) {
    const size_t end = std::min(text.find('\n'), text.size());
    const size_t taken = Fitting(text.substr(0, end), kMaxReportTextLine);
    absl::StrAppend(&out, text.substr(0, taken), "\n");
    text.remove_prefix(taken);
    if (taken == end) absl::ConsumePrefix(&text, "\n");
  }
  return out;
}

std::string RenderReportBody(const std::vector<ReportPiece>& pieces,
                             ReportValues values) {
  return WrapLongLines(Render(pieces, values));
}

std::string RenderReportSubject(const std::vector<ReportPiece>& pieces,
                                ReportValues values) {
  std::string text = Render(pieces, values);
  for (char& c : text) {
    if (absl::ascii_iscntrl(static_cast<unsigned char>(c))) c = ' ';
  }
  text.resize(Fitting(text, kMaxReportSubject));
  if (IsPlain(text) && !absl::StrContains(text, "=?")) return text;
  std::string out;
  absl::string_view rest = text;
  while (!rest.empty()) {
    const size_t taken = Fitting(rest, kMaxWordOctets);
    absl::StrAppend(&out, out.empty() ? "" : "\n ", kWordStart,
                    absl::Base64Escape(rest.substr(0, taken)), kWordEnd);
    rest.remove_prefix(taken);
  }
  return out;
}

}  // namespace holdfast
