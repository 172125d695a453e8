// Where the keys of a sealed store are, for who opens it while smtpd is down.
#ifndef HOLDFAST_CTL_STORE_CONFIGURED_KEYS_H_
#define HOLDFAST_CTL_STORE_CONFIGURED_KEYS_H_

#include <memory>
#include <optional>
#include <string>

#include "absl/functional/function_ref.h"
#include "absl/status/statusor.h"
#include "storage/queue_store.h"

namespace holdfast {

// What the configuration says of the keys of one store.
struct ConfiguredKeys {
  // As ReadStoreKeys() takes them.
  std::optional<std::string> current, previous;
};

// Of the configuration $SMTPD_CONFIG, or /etc/smtpd.conf: nothing if it can't
// be read, has errors, or is another store's.
ConfiguredKeys FindConfiguredKeys(const std::string& store);

// Opens the store with them.  They are asked for if it is sealed, and so is a
// key of which the configuration knows nothing.
absl::StatusOr<std::unique_ptr<QueueStore>> OpenWithKeys(
    const ConfiguredKeys& configured,
    absl::FunctionRef<StoreOptions()> make_options);

}  // namespace holdfast

#endif  // HOLDFAST_CTL_STORE_CONFIGURED_KEYS_H_
