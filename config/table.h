// Tables: named lists and maps (table(5); reference part 1, section 2).
#ifndef HOLDFAST_CONFIG_TABLE_H_
#define HOLDFAST_CONFIG_TABLE_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "config/table_contents.h"
#include "config/table_match.h"

namespace holdfast {

// Ours: `[timeout TIME] [keep TIME]` of a table that a program answers for.
struct TableCare {
  // How long it may think about one question.
  absl::Duration timeout = absl::Seconds(5);
  // While it does not answer, what it said last is believed for so long; zero:
  // not at all.
  absl::Duration keep = absl::ZeroDuration();
};

// A table's name, where it comes from, and what is in it now.
//
// The contents are immutable and are replaced as a whole (Replace()), by who
// holds the Config and on the one thread that uses it: `smtpctl update table`,
// a db file that has changed.  Whoever holds a TableRef sees the new ones with
// the next question; keep no entry of a table beyond the callback that asked.
//
// Used on one thread.
class Table {
 public:
  // kDynamic, whose entries have no kind: db files, and what other programs
  // answer.
  enum class Kind : uint8_t { kList, kMap, kDynamic };

  Table(std::string name, Kind kind, std::string backend, std::string path);

  const std::string& name() const { return name_; }
  Kind kind() const;
  // "static" (inline or file), "db", "getpwnam", or a process's name.
  const std::string& backend() const { return backend_; }
  const std::string& path() const { return path_; }  // empty: inline
  // It is asked here: inline, file or db.  Others only have their name here.
  bool is_static() const { return backend_ == "static" || backend_ == "db"; }
  bool is_file() const { return is_static() && !path_.empty(); }
  // Its backend is the name of a program, table-NAME, which `lookup` asks.
  bool is_process() const { return !is_static() && backend_ != "getpwnam"; }
  const TableCare& care() const { return care_; }  // is_process()
  void set_care(const TableCare& care) { care_ = care; }

  // Adds an entry to an inline table; see TableContents::Builder::Add().
  void Add(absl::string_view key, absl::string_view value);
  void Replace(std::shared_ptr<const TableContents> contents);

  // In byte-wise order of their keys; list elements have no value.
  TableEntries entries() const { return TableEntries(contents()); }
  const std::shared_ptr<const TableContents>& contents() const;

  // The configuration compares with it in this way (so that indexes can be
  // made before the first question).
  void NoteUse(TableService service) { uses_ |= 1u << int(service); }
  // What is wrong with contents that are to become this table's, for what the
  // table is used for.
  absl::Status CheckUses(const TableContents& contents) const;
  // On contents that are to become this table's.
  void Prepare(const TableContents& contents) const;

  // Tables that are asked here only.  Whether, and with which value, the
  // service's comparison finds `key` (lowercased first; at most 1023 bytes,
  // longer: kInvalidArgument).  `delimiter`: of sub-addresses, for mailaddr.
  absl::StatusOr<bool> Check(TableService service, absl::string_view key,
                             char delimiter = '+') const;
  absl::StatusOr<std::optional<std::string>> Lookup(TableService service,
                                                    absl::string_view key,
                                                    char delimiter = '+') const;
  // The next key, going round.  Empty table: nullopt.
  std::optional<std::string> Fetch() const;

 private:
  absl::StatusOr<std::optional<size_t>> Find(TableService service,
                                             absl::string_view key,
                                             char delimiter) const;

  std::string name_;
  Kind kind_;
  std::string backend_;
  std::string path_;
  TableCare care_;
  uint32_t uses_ = 0;
  // Of Add(); contents_ is made of them when it is wanted.
  std::vector<std::pair<std::string, std::string>> added_;
  mutable std::shared_ptr<const TableContents> contents_;
  mutable std::string fetched_;  // key last given by Fetch()
};

using TableRef = std::shared_ptr<const Table>;

// Octets of a key (reference part 1, section 2.1).
inline constexpr size_t kMaxTableKey = 1023;

// What a table's file may have, in bytes.
inline constexpr size_t kMaxTableFileBytes = 1 << 30;

// "FILE:LINE: invalid entry for KEY"
std::string BadAliasText(absl::string_view path,
                         const TableContents::BadAlias& bad);

// "invalid smarthost URL weight=x: ..." of the first element of a `host` table
// whose weight is none; empty: there is none such.  A bad URL is found when
// mail is to go there, as by the reference.
std::string BadSmarthostText(const TableContents& contents);

// The contents of a file of this backend, "static" or "db"; `path` for
// messages.
absl::StatusOr<std::shared_ptr<const TableContents>> ParseTableBytes(
    absl::string_view backend, absl::string_view path, absl::string_view bytes);

// The text of a `file:` table.  The error is "PATH:LINE invalid map entry".
// (reference part 1, section 2.2)
absl::StatusOr<std::shared_ptr<const TableContents>> ParseTableText(
    absl::string_view path, absl::string_view text);

}  // namespace holdfast

#endif  // HOLDFAST_CONFIG_TABLE_H_
