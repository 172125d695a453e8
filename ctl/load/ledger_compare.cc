#include "ctl/load/ledger_compare.h"

#include <algorithm>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_split.h"

namespace holdfast {
namespace {

constexpr size_t kEnvelopeDigits = 16;
constexpr size_t kMessageDigits = 8;
// Columns, from 0.
constexpr size_t kQueueRecipient = 5;  // of `show queue`
constexpr size_t kDoubtRecipient = 4;  // of `show doubt`

bool IsEnvelopeId(absl::string_view word) {
  return word.size() == kEnvelopeDigits &&
         std::all_of(word.begin(), word.end(),
                     [](unsigned char c) { return absl::ascii_isxdigit(c); });
}

std::string Lower(absl::string_view text) {
  return absl::AsciiStrToLower(text);
}

void AppendFinding(std::string* json, const char* name,
                   const LedgerCompare::Finding& finding) {
  absl::StrAppend(json, ",\"", name, "\":", finding.count);
}

}  // namespace

std::string EnvelopeInMaildirName(absl::string_view name) {
  const std::vector<absl::string_view> parts = absl::StrSplit(name, '.');
  // The time, the store and the envelope, then a host of any form.
  if (parts.size() < 4 || !IsEnvelopeId(parts[2])) return "";
  return std::string(parts[2]);
}

void LedgerCompare::Finding::Add(std::string example) {
  ++count;
  if (examples.size() < kExamples) examples.push_back(std::move(example));
}

void LedgerCompare::AddLedger(const std::vector<LedgerEntry>& entries) {
  for (const LedgerEntry& entry : entries) {
    const bool took = entry.kind == LedgerEntry::Kind::kTook;
    // A message that is not numbered: a report, somebody else's.
    if (took && entry.id == "-") continue;
    if (entry.kind == LedgerEntry::Kind::kAcknowledged) {
      ids_by_msgid_[entry.msgid] = entry.id;
      msgids_by_id_[entry.id] = entry.msgid;
    }
    for (const std::string& recipient : entry.recipients) {
      const Pair pair{entry.id, Lower(recipient)};
      switch (entry.kind) {
        case LedgerEntry::Kind::kAcknowledged:
          acknowledged_.insert(pair);
          break;
        case LedgerEntry::Kind::kUnknown:
          unknown_.insert(pair);
          break;
        case LedgerEntry::Kind::kRefused:
          refused_.insert(pair);
          break;
        case LedgerEntry::Kind::kTook:
          ++copies_[pair].sink;
          copies_[pair].msgids.insert(entry.msgid);
          break;
      }
    }
    if (took && entry.body == LedgerEntry::Body::kDamaged) {
      damaged_.Add(absl::StrCat(entry.id, " at the sink"));
    }
  }
}

void LedgerCompare::AddMaildir(const MaildirCopy& copy) {
  if (!copy.envelope.empty()) ++maildir_envelopes_[copy.envelope];
  if (copy.id.empty()) return;
  ++copies_[{copy.id, Lower(copy.recipient)}].maildir;
  if (!copy.intact) damaged_.Add(copy.name);
}

void LedgerCompare::AddQueueLine(absl::string_view line) {
  const std::vector<std::string> columns = absl::StrSplit(line, '|');
  if (columns.size() <= kQueueRecipient || !IsEnvelopeId(columns[0])) return;
  queued_msgids_.push_back(
      {columns[0].substr(0, kMessageDigits), Lower(columns[kQueueRecipient])});
}

void LedgerCompare::AddDoubtLine(absl::string_view line) {
  const std::vector<std::string> columns = absl::StrSplit(line, '|');
  if (!IsEnvelopeId(columns[0])) return;
  doubts_.insert({columns[0].substr(0, kMessageDigits),
                  columns.size() > kDoubtRecipient
                      ? Lower(columns[kDoubtRecipient])
                      : std::string()});
}

bool LedgerCompare::Doubted(const Pair& pair,
                            const std::set<std::string>& msgids) const {
  std::set<std::string> all = msgids;
  const auto known = msgids_by_id_.find(pair.first);
  if (known != msgids_by_id_.end()) all.insert(known->second);
  for (const std::string& msgid : all) {
    if (doubts_.count({msgid, pair.second}) || doubts_.count({msgid, ""})) {
      return true;
    }
  }
  return false;
}

LedgerCompare::Result LedgerCompare::Compare() const {
  Result result;
  result.acknowledged = acknowledged_.size();
  result.unknown = unknown_.size();
  result.in_queue = queued_msgids_.size();
  result.doubtful = doubts_.size();
  result.damaged = damaged_;
  for (const auto& [envelope, count] : maildir_envelopes_) {
    if (count > 1) {
      result.repeated_maildir.Add(absl::StrCat(envelope, " x", count));
    }
  }
  CompareCopies(result);
  return result;
}

void LedgerCompare::CompareCopies(Result& result) const {
  std::map<Pair, Copies> copies = copies_;
  for (const Pair& queued : queued_msgids_) {
    const auto id = ids_by_msgid_.find(queued.first);
    if (id != ids_by_msgid_.end()) {
      copies[{id->second, queued.second}].queued = true;
    }
  }
  for (const auto& [pair, copy] : copies) {
    const std::string shown = absl::StrCat(pair.first, " ", pair.second);
    if (copy.sink > 0) ++result.at_sink;
    if (copy.maildir > 0) ++result.in_maildir;
    const bool doubted = Doubted(pair, copy.msgids);
    const int64_t extra = copy.sink - 1;
    if (extra > 0 && !doubted) {
      result.repeated.Add(absl::StrCat(shown, " x", copy.sink));
    } else if (extra > 0) {
      result.repeated_doubt += extra;
    }
    if (copy.maildir > 1 || (copy.maildir > 0 && copy.sink > 0)) {
      result.repeated_maildir.Add(
          absl::StrCat(shown, " x", copy.maildir + copy.sink));
    }
    if (copy.queued && copy.sink + copy.maildir > 0 && !doubted) {
      result.elsewhere_too.Add(shown);
    }
    if (refused_.count(pair)) {
      result.refused_too.Add(shown);
    } else if (acknowledged_.count(pair) == 0 && unknown_.count(pair) == 0) {
      result.unexpected.Add(shown);
    }
  }
  for (const Pair& pair : acknowledged_) {
    if (copies.count(pair) == 0) {
      const auto msgid = msgids_by_id_.find(pair.first);
      result.lost.Add(
          absl::StrCat(pair.first, " ", pair.second, " ", msgid->second));
    }
  }
}

std::string LedgerCompare::Result::Json() const {
  std::string json = absl::StrFormat(
      "{\"ok\":%s,\"acknowledged\":%d,\"unknown\":%d,\"at_sink\":%d,"
      "\"in_maildir\":%d,\"in_queue\":%d,\"doubtful\":%d,"
      "\"repeated_doubt\":%d",
      ok() ? "true" : "false", acknowledged, unknown, at_sink, in_maildir,
      in_queue, doubtful, repeated_doubt);
  AppendFinding(&json, "lost", lost);
  AppendFinding(&json, "repeated", repeated);
  AppendFinding(&json, "refused_too", refused_too);
  AppendFinding(&json, "repeated_maildir", repeated_maildir);
  AppendFinding(&json, "elsewhere_too", elsewhere_too);
  AppendFinding(&json, "damaged", damaged);
  AppendFinding(&json, "unexpected", unexpected);
  json += "}";
  return json;
}

}  // namespace holdfast
