#include "ctl/load/ledger.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"

namespace holdfast {
namespace {

constexpr size_t kDeviceBlock = 4096;

absl::Status SystemError(const std::string& what) {
  return absl::UnavailableError(absl::StrCat(what, ": ", strerror(errno)));
}

std::string Word(const std::string& text) {
  if (text.empty()) return "-";
  std::string word = text;
  for (char& c : word) {
    if (c <= ' ' || c == ',' || c == 0x7f) c = '?';
  }
  return word;
}

const char* KindWord(LedgerEntry::Kind kind) {
  switch (kind) {
    case LedgerEntry::Kind::kAcknowledged:
      return "ACK";
    case LedgerEntry::Kind::kTook:
      return "TOOK";
    case LedgerEntry::Kind::kUnknown:
      return "UNKNOWN";
    case LedgerEntry::Kind::kRefused:
      return "REFUSED";
  }
  return "UNKNOWN";
}

const char* BodyWord(LedgerEntry::Body body) {
  switch (body) {
    case LedgerEntry::Body::kOk:
      return "ok";
    case LedgerEntry::Body::kDamaged:
      return "damaged";
    case LedgerEntry::Body::kUnknown:
      return "unknown";
  }
  return "unknown";
}

bool WriteAll(int fd, absl::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t put = write(fd, bytes.data(), bytes.size());
    if (put < 0 && errno == EINTR) continue;
    if (put < 0) return false;
    bytes.remove_prefix(put);
  }
  return true;
}

}  // namespace

std::string FormatLedgerEntry(const LedgerEntry& entry) {
  std::string line = absl::StrCat(
      KindWord(entry.kind), " ", entry.serial, " ", Word(entry.id), " ",
      Word(entry.msgid), " ",
      entry.recipients.empty()
          ? "-"
          : absl::StrJoin(entry.recipients, ",",
                          [](std::string* out, const std::string& recipient) {
                            absl::StrAppend(out, Word(recipient));
                          }));
  if (entry.kind == LedgerEntry::Kind::kTook) {
    absl::StrAppend(&line, " ", BodyWord(entry.body));
  }
  line += '\n';
  return line;
}

absl::StatusOr<LedgerEntry> ParseLedgerEntry(absl::string_view line) {
  if (!line.empty() && line.back() == '\n') line.remove_suffix(1);
  const std::vector<std::string> words = absl::StrSplit(line, ' ');
  LedgerEntry entry;
  const bool took = !words.empty() && words[0] == "TOOK";
  if (words.size() != (took ? 6u : 5u) ||
      !absl::SimpleAtoi(words[1], &entry.serial)) {
    return absl::InvalidArgumentError(
        absl::StrCat("not a ledger line: ", line));
  }
  if (took) {
    entry.kind = LedgerEntry::Kind::kTook;
    entry.body = words[5] == "ok"        ? LedgerEntry::Body::kOk
                 : words[5] == "damaged" ? LedgerEntry::Body::kDamaged
                                         : LedgerEntry::Body::kUnknown;
  } else if (words[0] == "UNKNOWN") {
    entry.kind = LedgerEntry::Kind::kUnknown;
  } else if (words[0] == "REFUSED") {
    entry.kind = LedgerEntry::Kind::kRefused;
  } else if (words[0] != "ACK") {
    return absl::InvalidArgumentError(
        absl::StrCat("not a ledger line: ", line));
  }
  entry.id = words[2];
  if (words[3] != "-") entry.msgid = words[3];
  if (words[4] != "-") entry.recipients = absl::StrSplit(words[4], ',');
  return entry;
}

LedgerWriter::~LedgerWriter() {
  if (file_ >= 0) close(file_);
  if (device_ >= 0) close(device_);
  free(block_);
}

absl::Status LedgerWriter::Open(const Options& options) {
  if (!options.path.empty()) {
    file_ = open(options.path.c_str(),
                 O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC |
                     (options.sync ? O_DSYNC : 0),
                 0644);
    if (file_ < 0) return SystemError(options.path);
  }
  if (!options.serial_device.empty()) {
    device_ =
        open(options.serial_device.c_str(), O_WRONLY | O_DIRECT | O_CLOEXEC);
    if (device_ < 0) return SystemError(options.serial_device);
    if (posix_memalign(&block_, kDeviceBlock, kDeviceBlock) != 0) {
      return absl::ResourceExhaustedError("posix_memalign");
    }
  }
  return absl::OkStatus();
}

void LedgerWriter::Add(LedgerEntry entry) {
  entry.serial = ++serial_;
  pending_ += FormatLedgerEntry(entry);
}

absl::Status LedgerWriter::Flush() {
  if (pending_.empty()) return absl::OkStatus();
  const std::string lines = std::exchange(pending_, "");
  if (file_ >= 0 && !WriteAll(file_, lines)) return SystemError("ledger");
  if (device_ < 0) return absl::OkStatus();
  memset(block_, 0, kDeviceBlock);
  const std::string text = absl::StrCat(serial_, "\n");
  memcpy(block_, text.data(), text.size());
  if (pwrite(device_, block_, kDeviceBlock, 0) !=
      static_cast<ssize_t>(kDeviceBlock)) {
    return SystemError("serial device");
  }
  return absl::OkStatus();
}

absl::StatusOr<std::vector<LedgerEntry>> ReadLedger(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) return SystemError(path);
  std::vector<LedgerEntry> entries;
  std::string line;
  while (std::getline(file, line)) {
    if (file.eof()) break;  // no line end: not completely written
    absl::StatusOr<LedgerEntry> entry = ParseLedgerEntry(line);
    if (!entry.ok()) return entry.status();
    entries.push_back(*std::move(entry));
  }
  return entries;
}

}  // namespace holdfast
