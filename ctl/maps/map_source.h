// What makemap reads (reference part 2, section 6.6).  Pure.
#ifndef HOLDFAST_CTL_MAPS_MAP_SOURCE_H_
#define HOLDFAST_CTL_MAPS_MAP_SOURCE_H_

#include <map>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace holdfast {

enum class MapType { kPlain, kAliases, kSet };

// What a key of a set has for a value.
inline constexpr char kSetValue[] = "<set>";

// Keys in lower case.
using MapEntries = std::map<std::string, std::string>;

// The entries of `text`, one a line as in a table's file.  kInvalidArgument:
// "NAME:LINE: invalid entry" or "NAME:LINE: duplicate entry for KEY".
absl::StatusOr<MapEntries> ParseMapSource(absl::string_view name,
                                          absl::string_view text, MapType type);

}  // namespace holdfast

#endif  // HOLDFAST_CTL_MAPS_MAP_SOURCE_H_
