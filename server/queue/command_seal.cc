#include "server/queue/command_seal.h"

#include <utility>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "storage/crypto/key_derivation.h"

namespace holdfast {
namespace {

std::string SealOf(const std::string& key, const std::string& exec,
                   const std::string& action, const std::string& user,
                   const std::string& subaddress, const MailAddress& dest) {
  std::string text;
  for (const std::string& part :
       {exec, action, user, subaddress, dest.ToString()}) {
    absl::StrAppend(&text, part.size(), ":", part);
  }
  return absl::WebSafeBase64Escape(HmacSha256(key, text)).substr(0, kSealBytes);
}

bool SameInConstantTime(const std::string& a, const std::string& b) {
  if (a.size() != b.size()) return false;
  unsigned char difference = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    difference |= static_cast<unsigned char>(a[i] ^ b[i]);
  }
  return difference == 0;
}

}  // namespace

std::string SealCommand(const std::string& key,
                        const ExpandedRecipient& place) {
  return absl::StrCat(SealOf(key, place.mda_exec, place.action, place.mda_user,
                             place.mda_subaddress, place.dest),
                      place.mda_exec);
}

void CommandSeals::AddKey(std::string key) {
  if (!keys_.empty() && keys_[0] == key) return;
  keys_.insert(keys_.begin(), std::move(key));
  if (keys_.size() > 2) keys_.pop_back();
}

absl::Status CommandSeals::Open(Envelope* envelope) const {
  const std::string& sealed = envelope->mda_exec;
  if (sealed.empty()) return absl::OkStatus();
  if (sealed.size() > kSealBytes) {
    const std::string seal = sealed.substr(0, kSealBytes);
    std::string exec = sealed.substr(kSealBytes);
    for (const std::string& key : keys_) {
      if (!SameInConstantTime(
              seal, SealOf(key, exec, envelope->action, envelope->mda_user,
                           envelope->mda_subaddress, envelope->dest))) {
        continue;
      }
      envelope->mda_exec = std::move(exec);
      return absl::OkStatus();
    }
  }
  return absl::PermissionDeniedError("command without a valid seal");
}

}  // namespace holdfast
