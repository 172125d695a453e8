#include "ctl/tables/ldap_filter.h"

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

namespace holdfast {

std::string EscapeLdapValue(absl::string_view value) {
  std::string escaped;
  for (const char c : value) {
    const unsigned char octet = static_cast<unsigned char>(c);
    if (octet < 0x20 || octet > 0x7e || c == '*' || c == '(' || c == ')' ||
        c == '\\')
      absl::StrAppendFormat(&escaped, "\\%02x", octet);
    else
      escaped.push_back(c);
  }
  return escaped;
}

absl::StatusOr<LdapFilter> LdapFilter::Parse(absl::string_view text) {
  LdapFilter filter;
  std::string plain;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '%') {
      plain.push_back(text[i]);
      continue;
    }
    const char what = ++i < text.size() ? text[i] : '\0';
    if (what == '%') {
      plain.push_back('%');
      continue;
    }
    if (what != 'u' && what != 's' && what != 'h')
      return absl::InvalidArgumentError(
          "after a % there must be u, s, h or another %");
    filter.pieces_.push_back({Kind::kText, plain});
    plain.clear();
    filter.pieces_.push_back({what == 'h' ? Kind::kTable : Kind::kKey, ""});
  }
  filter.pieces_.push_back({Kind::kText, plain});
  return filter;
}

std::string LdapFilter::With(absl::string_view key,
                             absl::string_view table) const {
  std::string text;
  for (const Piece& piece : pieces_) {
    switch (piece.kind) {
      case Kind::kText:
        text += piece.text;
        break;
      case Kind::kKey:
        text += EscapeLdapValue(key);
        break;
      case Kind::kTable:
        text += EscapeLdapValue(table);
        break;
    }
  }
  return text;
}

}  // namespace holdfast
