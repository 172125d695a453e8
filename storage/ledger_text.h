// `show ledger`: where every accepted envelope has gone (promise P2), the same
// from the daemon and from the tools that read the store while it is down.
#ifndef HOLDFAST_STORAGE_LEDGER_TEXT_H_
#define HOLDFAST_STORAGE_LEDGER_TEXT_H_

#include <string>

#include "absl/strings/str_cat.h"
#include "storage/queue_store.h"

namespace holdfast {

inline bool IsBalanced(const Ledger& l) {
  return l.accepted == l.delivered + l.reported + l.removed + l.discarded +
                           l.silent + l.queued;
}

inline std::string LedgerText(const Ledger& l) {
  return absl::StrCat("accepted ", l.accepted, "\ndelivered ", l.delivered,
                      "\nreported ", l.reported, "\nremoved ", l.removed,
                      "\ndiscarded ", l.discarded, "\nsilent ", l.silent,
                      "\nqueued ", l.queued, "\nbalanced ",
                      IsBalanced(l) ? "yes" : "no", "\n");
}

}  // namespace holdfast

#endif  // HOLDFAST_STORAGE_LEDGER_TEXT_H_
