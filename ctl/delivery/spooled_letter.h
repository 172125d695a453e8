// Standard input as one letter in mbox format, in a file without a name.
#ifndef HOLDFAST_CTL_DELIVERY_SPOOLED_LETTER_H_
#define HOLDFAST_CTL_DELIVERY_SPOOLED_LETTER_H_

#include <string>

#include "absl/status/status.h"
#include "storage/mailbox/mbox_format.h"
#include "storage/mailbox/spool_file.h"

namespace holdfast {

// Reads `input` to its end.  `from`: the sender of the From line.
absl::Status SpoolLetter(int input, const std::string& from,
                         MboxEncoder::Quote quote, SpoolFile* spool);

}  // namespace holdfast

#endif  // HOLDFAST_CTL_DELIVERY_SPOOLED_LETTER_H_
