// Reads smtpd.conf and all it is made of, once, and says which room may see
// what of it.
#ifndef HOLDFAST_SERVER_PARENT_CONFIG_LOADER_H_
#define HOLDFAST_SERVER_PARENT_CONFIG_LOADER_H_

#include <memory>
#include <string>
#include <vector>

#include "config/config.h"
#include "config/parser.h"
#include "server/door/parent_messages.h"
#include "server/door/room.h"

namespace holdfast {

struct LoadedConfig {
  std::shared_ptr<const Config> config;  // null: it has errors
  std::vector<std::string> messages;     // for stderr
  std::vector<std::string> warnings;     // for stderr, by -n
  std::vector<Start::File> files;        // all that the parser asked for
};

// Parses; `read` is asked once for each file.
LoadedConfig LoadConfig(const ParseOptions& options, const FileReader& read);

// `loaded.files` for this room (P7).  lookup and queue see all; relay sees of
// tables only those its actions take hosts and addresses from; the others see
// no table.  What it may not see is there, with no contents.
std::vector<Start::File> FilesFor(Room room, const std::string& config_path,
                                  const LoadedConfig& loaded);

}  // namespace holdfast

#endif  // HOLDFAST_SERVER_PARENT_CONFIG_LOADER_H_
