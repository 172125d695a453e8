// What this program calls itself.
#ifndef HOLDFAST_SERVER_PARENT_VERSION_H_
#define HOLDFAST_SERVER_PARENT_VERSION_H_

namespace holdfast {

inline constexpr char kVersion[] = "Holdfast 0.1";
inline constexpr char kCompatibleWith[] = "OpenSMTPD 7.8.0-portable";

}  // namespace holdfast

#endif  // HOLDFAST_SERVER_PARENT_VERSION_H_
