// What the credentials tables of listeners hold (reference part 1, section
// 2.4), and what those are compared with who are not in them.
#ifndef HOLDFAST_SERVER_LOOKUP_CREDENTIALS_H_
#define HOLDFAST_SERVER_LOOKUP_CREDENTIALS_H_

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "config/table.h"
#include "protocol/scram.h"

namespace holdfast {

// The hash or verifier in the value of an entry: all of it, or what follows the
// first colon ("user:hash").  nullopt: the value is too short or too long, or a
// side of the colon is empty.
std::optional<std::string> StoredPassword(absl::string_view value);
// Whether some password could fit.
bool IsUsablePassword(const std::string& stored);

// Used on the loop's thread.
class Credentials {
 public:
  // Only so many entries are looked at to know what a table is like, and again
  // after so long.
  static constexpr size_t kMaxLookedAt = 10000;
  static constexpr size_t kMaxStandIns = 256;
  static constexpr absl::Duration kLooksGood = absl::Minutes(1);

  // `secret` is random and new with each start: what it makes up is the same
  // for a name as long as the process lives, and known to nobody.
  explicit Credentials(std::string secret);

  struct Found {
    // False: there is no such user, or none with a password that can be used;
    // `stored` is then somebody else's, so that checking it takes as long as
    // it would, and must not be believed.
    bool real = false;
    std::string stored;
    bool unusable = false;  // in the table, but no hash this system knows
  };
  // Errors: the table cannot be asked.  Not of tables of programs: FromValue().
  absl::StatusOr<Found> Find(const TableRef& table, const std::string& user,
                             absl::Duration now);

  // What the program of `table` has said of the user (nullopt: not found).
  Found FromValue(const std::optional<std::string>& value,
                  const std::string& user) const;

  struct FoundVerifier {
    bool real = false;
    ScramVerifier verifier;  // made up if not real
  };
  absl::StatusOr<FoundVerifier> FindVerifier(const TableRef& table,
                                             const std::string& user,
                                             absl::Duration now);

  // Whether there is a usable password in the table and all that are looked at
  // are SCRAM verifiers.
  bool AllScram(const TableRef& table, absl::Duration now);

 private:
  // What a table is like.
  struct Look {
    TableRef table;  // keeps it, so that no other gets its place in memory
    size_t entries = 0;
    absl::Duration until;
    std::vector<std::string> stand_ins;  // usable passwords, some
    std::vector<std::string> verifiers;  // those that are of SCRAM
    bool all_scram = false;
  };

  const Look& LookAt(const TableRef& table, absl::Duration now);
  Found Judge(const std::optional<std::string>& value,
              const std::string& stand_in) const;
  // One of `choices` for that user, always the same while they are the same;
  // there must be one.
  const std::string& Choose(const std::vector<std::string>& choices,
                            absl::string_view user) const;
  std::string MadeUp(absl::string_view what, absl::string_view user) const;

  const std::string secret_;
  const std::vector<std::string> nothing_known_;
  std::map<const Table*, Look> looks_;
};

}  // namespace holdfast

#endif  // HOLDFAST_SERVER_LOOKUP_CREDENTIALS_H_
