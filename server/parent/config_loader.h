// Reads smtpd.conf and all it is made of, once, and says which room may see
// what of it.
#ifndef HOLDFAST_SERVER_PARENT_CONFIG_LOADER_H_
#define HOLDFAST_SERVER_PARENT_CONFIG_LOADER_H_

#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "config/config.h"
#include "config/parser.h"
#include "server/door/parent_messages.h"
#include "server/door/room.h"
#include "server/tables/sealed_file.h"

namespace holdfast {

struct LoadedConfig {
  std::shared_ptr<const Config> config;  // null: it has errors
  std::vector<std::string> messages;     // for stderr
  std::vector<std::string> warnings;     // for stderr, by -n
  std::vector<Start::File> files;  // all that the parser asked for but tables
  // If there are keys of `queue encryption` in them: files that mean the same
  // without these.  Else empty.
  std::vector<Start::File> files_without_queue_keys;
  std::map<std::string, SealedFile> tables;  // files of tables, by their names
};

// Reads the file of a table; SealFile() but in tests.
using TableSealer =
    std::function<absl::StatusOr<SealedFile>(const std::string& path)>;

// Parses; `read` is asked once for each file.  The tables of `config` have
// their contents, so that they can be looked at; KeepOnlyUserbases() drops
// those that parent has no use for.
LoadedConfig LoadConfig(const ParseOptions& options, const FileReader& read,
                        const TableSealer& seal = SealFile);
void KeepOnlyUserbases(const Config& config);

// The tables in files that this room may see (P7).  lookup sees all; queue
// those that relay actions name; relay those it takes hosts and addresses from;
// the others none: for them these tables are there, without entries.
std::set<std::string> TablesFor(Room room, const Config& config);
// Whether `room` may see the entries of this table of `config`, wherever they
// stand (P7): as TablesFor(), for inline tables too.  filters may see those
// inline tables that filters of smtpd.conf compare with, but no values in them.
bool MaySee(Room room, const Config& config, const Table& table);

// The configuration's files for `room`.  lookup and queue get them as they are,
// but for keys of `queue encryption`, which travel apart to queue alone; the
// others one text that means the same to them and holds no secret: no keys of
// `srs` either, no entries of tables they may not see.
std::vector<Start::File> FilesFor(Room room, const std::string& config_path,
                                  const LoadedConfig& loaded);

// The tables that say who users are: what parent itself asks.
std::set<std::string> Userbases(const Config& config);

}  // namespace holdfast

#endif  // HOLDFAST_SERVER_PARENT_CONFIG_LOADER_H_
