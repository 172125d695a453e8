// Filters of table-ldap's configuration, with the key in them.
#ifndef HOLDFAST_CTL_TABLES_LDAP_FILTER_H_
#define HOLDFAST_CTL_TABLES_LDAP_FILTER_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace holdfast {

// A value in a filter (RFC 4515, section 3): * ( ) \ NUL and what is not ASCII
// as \xx.
std::string EscapeLdapValue(absl::string_view value);

// %u and %s are the key, %h the table's name, %% a percent sign.
class LdapFilter {
 public:
  // kInvalidArgument: another %.
  static absl::StatusOr<LdapFilter> Parse(absl::string_view text);

  std::string With(absl::string_view key, absl::string_view table) const;

 private:
  enum class Kind { kText, kKey, kTable };
  struct Piece {
    Kind kind = Kind::kText;
    std::string text;  // of kText
  };
  std::vector<Piece> pieces_;
};

}  // namespace holdfast

#endif  // HOLDFAST_CTL_TABLES_LDAP_FILTER_H_
