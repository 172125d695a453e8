#include "ctl/store/configured_keys.h"

#include <stdlib.h>

#include <fstream>
#include <sstream>
#include <utility>

#include "config/config.h"
#include "config/parser.h"
#include "storage/queue_keys.h"

namespace holdfast {
namespace {

constexpr char kDefaultConfig[] = "/etc/smtpd.conf";

absl::StatusOr<std::string> ReadText(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  std::ostringstream text;
  if (!in || !(text << in.rdbuf())) return absl::NotFoundError(path);
  return text.str();
}

bool IsAsked(const std::optional<std::string>& key) {
  return key.has_value() && IsAskedQueueKey(*key);
}

}  // namespace

ConfiguredKeys FindConfiguredKeys(const std::string& store) {
  const char* const named = getenv("SMTPD_CONFIG");
  ParseOptions options;
  options.path = named != nullptr ? named : kDefaultConfig;
  // Of no use here, but rules may be about them.
  options.server_name = "localhost";
  const ParseResult parsed = ParseConfig(options, ReadText, [](const Table&) {
    return std::shared_ptr<const TableContents>();
  });
  ConfiguredKeys keys;
  if (parsed.config == nullptr || !parsed.config->queue_encryption ||
      PathsBelow(parsed.config->spool).store != store)
    return keys;
  if (parsed.config->queue_key != kNoQueueKey)
    keys.current = parsed.config->queue_key;
  keys.previous = parsed.config->queue_previous_key;
  return keys;
}

absl::StatusOr<std::unique_ptr<QueueStore>> OpenWithKeys(
    const ConfiguredKeys& configured,
    absl::FunctionRef<StoreOptions()> make_options) {
  StoreOptions options = make_options();
  if (!IsAsked(configured.current) && !IsAsked(configured.previous)) {
    options.keys.current = configured.current.value_or("");
    options.keys.previous = configured.previous.value_or("");
  }
  auto store = QueueStore::Open(std::move(options));
  if (!absl::IsUnauthenticated(store.status())) return store;
  const bool known =
      configured.current.has_value() || configured.previous.has_value();
  auto keys = known ? ReadStoreKeys(configured.current, configured.previous)
                    : ReadStoreKeys("", std::nullopt);
  if (absl::IsNotFound(keys.status())) return store;
  if (!keys.ok()) return keys.status();
  options = make_options();
  options.keys = *std::move(keys);
  return QueueStore::Open(std::move(options));
}

}  // namespace holdfast
