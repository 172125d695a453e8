// The keys of `queue encryption`, from where the configuration says they are.
#ifndef HOLDFAST_STORAGE_QUEUE_KEYS_H_
#define HOLDFAST_STORAGE_QUEUE_KEYS_H_

#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "storage/queue_store.h"

namespace holdfast {

inline constexpr size_t kStoreKeyBytes = 32;

// `current` and `previous` as the configuration has them: the key itself;
// empty: it is asked for on the terminal; "stdin", "-": it is the next line of
// standard input; nullopt: there is none.  Waits for who answers.
// kInvalidArgument: it has not kStoreKeyBytes; kNotFound: there is no terminal.
absl::StatusOr<StoreKeys> ReadStoreKeys(
    const std::optional<std::string>& current,
    const std::optional<std::string>& previous);

}  // namespace holdfast

#endif  // HOLDFAST_STORAGE_QUEUE_KEYS_H_
