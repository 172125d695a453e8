// Commands of table-redis' configuration, with the key in them.
#ifndef HOLDFAST_CTL_TABLES_REDIS_COMMAND_H_
#define HOLDFAST_CTL_TABLES_REDIS_COMMAND_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace holdfast {

// "HMGET user:%s uid gid": words between blanks, %s the key, %% a percent
// sign.  The key never makes more words.
class RedisCommand {
 public:
  // kInvalidArgument: no word, another %, or whether there is a %s is not
  // `with_key`.
  static absl::StatusOr<RedisCommand> Parse(absl::string_view text,
                                            bool with_key);

  std::vector<std::string> With(absl::string_view key) const;

 private:
  // Each word in the pieces between which the key stands.
  std::vector<std::vector<std::string>> words_;
};

}  // namespace holdfast

#endif  // HOLDFAST_CTL_TABLES_REDIS_COMMAND_H_
