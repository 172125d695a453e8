// Values of userbase tables: "uid:gid:home" (table(5), userinfo).
#ifndef HOLDFAST_CONFIG_USERINFO_H_
#define HOLDFAST_CONFIG_USERINFO_H_

#include <cstdint>
#include <optional>
#include <string>

#include "absl/strings/string_view.h"

namespace holdfast {

struct Userinfo {
  uint32_t uid = 0;
  uint32_t gid = 0;
  std::string home;
};

// Nothing if `value` is not of that form.
std::optional<Userinfo> ParseUserinfo(absl::string_view value);

}  // namespace holdfast

#endif  // HOLDFAST_CONFIG_USERINFO_H_
