#include "ctl/tables/redis_command.h"

#include "absl/status/status.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"

namespace holdfast {

absl::StatusOr<RedisCommand> RedisCommand::Parse(absl::string_view text,
                                                 bool with_key) {
  RedisCommand command;
  bool has_key = false;
  for (const absl::string_view word :
       absl::StrSplit(text, absl::ByAnyChar(" \t"), absl::SkipEmpty())) {
    std::vector<std::string> pieces(1);
    for (size_t i = 0; i < word.size(); ++i) {
      if (word[i] != '%') {
        pieces.back().push_back(word[i]);
        continue;
      }
      const char what = ++i < word.size() ? word[i] : '\0';
      if (what == '%') {
        pieces.back().push_back('%');
      } else if (what == 's') {
        pieces.emplace_back();
        has_key = true;
      } else {
        return absl::InvalidArgumentError(
            "after a % there must be s or another %");
      }
    }
    command.words_.push_back(std::move(pieces));
  }
  if (command.words_.empty())
    return absl::InvalidArgumentError("is no command");
  if (has_key != with_key)
    return absl::InvalidArgumentError(with_key ? "has no %s for the key"
                                               : "must not have a %s");
  return command;
}

std::vector<std::string> RedisCommand::With(absl::string_view key) const {
  std::vector<std::string> words;
  for (const std::vector<std::string>& pieces : words_)
    words.push_back(absl::StrJoin(pieces, key));
  return words;
}

}  // namespace holdfast
