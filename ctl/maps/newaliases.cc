// newaliases: makemap for the table `aliases` of the configuration.
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include <fstream>
#include <iterator>
#include <memory>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "config/config.h"
#include "config/parser.h"
#include "ctl/control/control_client.h"
#include "ctl/control/whole_io.h"
#include "ctl/maps/makemap.h"

namespace holdfast {
namespace {

constexpr char kConfigPath[] = "/etc/smtpd.conf";
constexpr char kDefaultSource[] = "/etc/aliases";
constexpr char kTable[] = "aliases";

struct Arguments {
  std::string config = kConfigPath;
  std::string source;  // of -O AliasFile=; empty: the configuration says
};

// [-f smtpd.conf] [-O AliasFile=path]; anything else may be there for sendmail
// -bi, and means nothing.
Arguments ParseArguments(const std::vector<std::string>& words) {
  Arguments arguments;
  for (size_t at = 0; at < words.size(); ++at) {
    absl::string_view word = words[at];
    const bool config = absl::ConsumePrefix(&word, "-f");
    if (!config && !absl::ConsumePrefix(&word, "-O")) continue;
    if (word.empty() && at + 1 < words.size()) word = words[++at];
    if (config)
      arguments.config = std::string(word);
    else if (absl::ConsumePrefix(&word, "AliasFile="))
      arguments.source = std::string(word);
  }
  return arguments;
}

absl::StatusOr<std::string> ReadFile(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) return absl::NotFoundError(strerror(errno));
  return std::string(std::istreambuf_iterator<char>(file), {});
}

// Null: what is wrong has been said.
std::shared_ptr<const Config> ReadConfig(const std::string& path) {
  ParseOptions options;
  options.path = path;
  char host[256] = {};
  gethostname(host, sizeof host - 1);
  options.server_name = host;
  // What is in the tables' files does not matter: the map may not be there yet.
  ParseResult parsed = ParseConfig(
      options, ReadFile,
      [](const Table&) -> absl::StatusOr<std::shared_ptr<const TableContents>> {
        return std::shared_ptr<const TableContents>();
      });
  if (parsed.config == nullptr)
    for (const std::string& line : parsed.messages)
      WriteAll(STDERR_FILENO, line + "\n");
  return std::move(parsed.config);
}

int Fail(absl::string_view text) {
  WriteAll(STDERR_FILENO, absl::StrCat("newaliases: ", text, "\n"));
  return 1;
}

// A daemon that runs looks at the map at once; what it says of it is in its
// log.
void TellDaemon(const std::string& spool) {
  const absl::StatusOr<int> fd = ConnectUnix(PathsBelow(spool).control_socket);
  if (!fd.ok()) return;
  RunControlCommand(*fd, {"update", "table", kTable}, "newaliases",
                    [](absl::string_view) { return true; });
  close(*fd);
}

}  // namespace

int RunNewaliases(const std::vector<std::string>& words,
                  const std::string& spool) {
  if (geteuid() != 0) return Fail("need root privileges");
  const Arguments arguments = ParseArguments(words);
  const std::shared_ptr<const Config> config = ReadConfig(arguments.config);
  if (config == nullptr) return 1;
  const auto table = config->tables.find(kTable);
  const bool known = table != config->tables.end() && table->second->is_file();
  MakemapOptions options;
  options.type = MapType::kAliases;
  options.source = arguments.source;
  if (options.source.empty())
    options.source =
        known ? std::string(absl::StripSuffix(table->second->path(), ".db"))
              : kDefaultSource;
  options.output = options.source + ".db";
  const MapResult result = MakeMap(options);
  if (!result.error.empty()) return Fail(result.error);
  if (result.entries == 0)
    WriteAll(STDERR_FILENO,
             absl::StrCat("newaliases: warning: empty map created: ",
                          options.output, "\n"));
  WriteAll(STDOUT_FILENO,
           absl::StrCat(options.source, ": ", result.entries, " aliases\n"));
  if (known) TellDaemon(spool.empty() ? config->spool : spool);
  return 0;
}

}  // namespace holdfast
