#include "protocol/milter_packets.h"

#include <algorithm>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"

namespace holdfast {
namespace {

constexpr size_t kLengthBytes = 4;
constexpr uint32_t kMacroStages = 7;

uint32_t NumberAt(absl::string_view bytes) {
  uint32_t number = 0;
  for (int i = 0; i < 4; ++i)
    number = number << 8 | static_cast<unsigned char>(bytes[i]);
  return number;
}

bool TakeNumber(absl::string_view* data, uint32_t* number) {
  if (data->size() < 4) return false;
  *number = NumberAt(*data);
  data->remove_prefix(4);
  return true;
}

bool TakeString(absl::string_view* data, std::string* text) {
  const size_t end = data->find('\0');
  if (end == absl::string_view::npos) return false;
  *text = std::string(data->substr(0, end));
  data->remove_prefix(end + 1);
  return true;
}

absl::Status Malformed(char code) {
  return absl::DataLossError(
      absl::StrCat("malformed packet '", absl::string_view(&code, 1), "'"));
}

// "{name} j" without braces.
std::vector<std::string> MacroNames(absl::string_view list) {
  std::vector<std::string> names;
  for (absl::string_view word :
       absl::StrSplit(list, absl::ByAnyChar(" \t,"), absl::SkipEmpty())) {
    if (absl::ConsumePrefix(&word, "{")) absl::ConsumeSuffix(&word, "}");
    names.push_back(std::string(word));
  }
  return names;
}

}  // namespace

absl::StatusOr<std::optional<MilterPacket>> MilterPacketReader::Read(
    absl::string_view* bytes) {
  const auto take = [&](size_t upto) {
    const size_t wanted = upto - std::min(upto, pending_.size());
    const size_t n = std::min(wanted, bytes->size());
    absl::StrAppend(&pending_, bytes->substr(0, n));
    bytes->remove_prefix(n);
    return pending_.size() >= upto;
  };
  if (!take(kLengthBytes)) return std::optional<MilterPacket>();
  const uint32_t length = NumberAt(pending_);
  if (length == 0 || length > kMaxMilterPacketBytes)
    return absl::DataLossError(absl::StrCat("packet of ", length, " octets"));
  if (!take(kLengthBytes + length)) return std::optional<MilterPacket>();
  MilterPacket packet{pending_[kLengthBytes],
                      pending_.substr(kLengthBytes + 1)};
  pending_.clear();
  return std::optional<MilterPacket>(std::move(packet));
}

void PutMilterNumber(uint32_t number, std::string* data) {
  for (int shift = 24; shift >= 0; shift -= 8)
    data->push_back(static_cast<char>(number >> shift & 0xff));
}

void PutMilterShort(uint16_t number, std::string* data) {
  data->push_back(static_cast<char>(number >> 8));
  data->push_back(static_cast<char>(number & 0xff));
}

void PutMilterString(absl::string_view text, std::string* data) {
  absl::StrAppend(data, text.substr(0, text.find('\0')));
  data->push_back('\0');
}

void PutMilterPacket(MilterCommand command, absl::string_view data,
                     std::string* out) {
  PutMilterNumber(static_cast<uint32_t>(data.size() + 1), out);
  out->push_back(static_cast<char>(command));
  absl::StrAppend(out, data);
}

absl::StatusOr<MilterOptions> ParseMilterOptions(absl::string_view data) {
  MilterOptions options;
  if (!TakeNumber(&data, &options.version) ||
      !TakeNumber(&data, &options.actions) ||
      !TakeNumber(&data, &options.steps))
    return Malformed('O');
  if (options.version < kMilterOldestVersion ||
      options.version > kMilterVersion)
    return absl::DataLossError(
        absl::StrCat("version ", options.version, " of the protocol"));
  if ((options.actions & ~kMilterActions) != 0 ||
      (options.steps & ~kMilterSteps) != 0)
    return absl::DataLossError("it asks for what was not offered");
  while (!data.empty()) {
    uint32_t stage = 0;
    std::string names;
    if (!TakeNumber(&data, &stage) || stage >= kMacroStages ||
        !TakeString(&data, &names))
      return Malformed('O');
    options.macros[stage] = MacroNames(names);
  }
  return options;
}

namespace {

using Kind = MilterChange::Kind;

struct ChangeForm {
  char code;
  Kind kind;
  uint32_t actions;  // any of these allows it
  // What the data is made of: 'i' index, 'n' name, 'v' value, 'p' parameters
  // that may be missing, '*' value without NUL.
  absl::string_view fields;
};

constexpr ChangeForm kChangeForms[] = {
    {'h', Kind::kAddHeader, kMilterAddHeaders, "nv"},
    {'i', Kind::kInsertHeader, kMilterAddHeaders, "inv"},
    {'m', Kind::kChangeHeader, kMilterChangeHeaders, "inv"},
    {'b', Kind::kReplaceBody, kMilterChangeBody, "*"},
    {'e', Kind::kChangeSender, kMilterChangeSender, "vp"},
    {'+', Kind::kAddRecipient, kMilterAddRecipients, "v"},
    {'2', Kind::kAddRecipient, kMilterAddRecipientsWithParameters, "vp"},
    {'-', Kind::kRemoveRecipient, kMilterRemoveRecipients, "v"},
    {'q', Kind::kQuarantine, kMilterQuarantine, "v"},
};

const ChangeForm* FormOf(char code) {
  for (const ChangeForm& form : kChangeForms)
    if (form.code == code) return &form;
  return nullptr;
}

bool IsHeaderName(absl::string_view name) {
  return !name.empty() && std::all_of(name.begin(), name.end(), [](char c) {
    return c > ' ' && c < 0x7f && c != ':';
  });
}

bool HasControls(absl::string_view text) {
  return std::any_of(text.begin(), text.end(),
                     [](char c) { return absl::ascii_iscntrl(c); });
}

bool IsSound(const MilterChange& change) {
  switch (change.kind) {
    case Kind::kAddHeader:
    case Kind::kInsertHeader:
    case Kind::kChangeHeader:
      return IsHeaderName(change.name);
    case Kind::kReplaceBody:
      return true;
    case Kind::kChangeSender:
    case Kind::kAddRecipient:
    case Kind::kRemoveRecipient:
      return !HasControls(change.value) && !HasControls(change.parameters);
    case Kind::kQuarantine:
      return true;
  }
  return false;
}

}  // namespace

uint32_t ActionOf(const MilterPacket& packet) {
  const ChangeForm* form = FormOf(packet.code);
  return form == nullptr ? 0 : form->actions;
}

absl::StatusOr<std::optional<MilterChange>> ParseMilterChange(
    const MilterPacket& packet) {
  const ChangeForm* form = FormOf(packet.code);
  if (form == nullptr) return std::optional<MilterChange>();
  MilterChange change;
  change.kind = form->kind;
  absl::string_view data = packet.data;
  bool ok = true;
  for (char field : form->fields) {
    if (field == 'i') {
      ok = ok && TakeNumber(&data, &change.index);
    } else if (field == 'n') {
      ok = ok && TakeString(&data, &change.name);
    } else if (field == 'v') {
      ok = ok && TakeString(&data, &change.value);
    } else if (field == 'p') {
      ok = ok && (data.empty() || TakeString(&data, &change.parameters));
    } else {
      change.value = std::string(data);
      data = {};
    }
  }
  if (!ok || !data.empty() || !IsSound(change)) return Malformed(packet.code);
  return std::optional<MilterChange>(std::move(change));
}

namespace {

// "5.7.1 " at the front of `text`, or nothing.
absl::string_view StatusWord(absl::string_view text) {
  const size_t end = text.find_first_not_of("0123456789.");
  return end == absl::string_view::npos || end == 0 || text[end] != ' '
             ? absl::string_view()
             : text.substr(0, end + 1);
}

// "550 text", "550-text" or "550".
bool IsReplyLine(absl::string_view line) {
  return line.size() >= 3 && (line[0] == '4' || line[0] == '5') &&
         absl::ascii_isdigit(line[1]) && absl::ascii_isdigit(line[2]) &&
         (line.size() == 3 || line[3] == ' ' || line[3] == '-') &&
         !HasControls(line);
}

}  // namespace

absl::StatusOr<std::string> ParseMilterReply(absl::string_view data) {
  std::string text;
  if (!TakeString(&data, &text) || !data.empty()) return Malformed('y');
  std::string joined;
  for (absl::string_view line :
       absl::StrSplit(text, absl::ByAnyChar("\r\n"), absl::SkipEmpty())) {
    if (!IsReplyLine(line)) return Malformed('y');
    absl::string_view words = line.substr(std::min<size_t>(4, line.size()));
    if (joined.empty()) {
      joined = absl::StrCat(line.substr(0, 3), " ");
    } else {
      if (!absl::StartsWith(joined, line.substr(0, 3))) return Malformed('y');
      words.remove_prefix(StatusWord(words).size());
      absl::StrAppend(&joined, " ");
    }
    // A percent sign is doubled on this wire.
    absl::StrAppend(&joined, absl::StrReplaceAll(words, {{"%%", "%"}}));
  }
  if (joined.empty()) return Malformed('y');
  return joined;
}

}  // namespace holdfast
