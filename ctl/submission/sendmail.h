// The sendmail program: reads a message from stdin and hands it to the daemon,
// or leaves it for it.
#ifndef HOLDFAST_CTL_SUBMISSION_SENDMAIL_H_
#define HOLDFAST_CTL_SUBMISSION_SENDMAIL_H_

#include <string>
#include <vector>

#include "config/config.h"

namespace holdfast {

// Exit status as the reference has it (part 2, section 6.2): 0 means that the
// daemon has the message, durably; 75 that it lies in the offline folder (or,
// with an error said, nowhere but in dead.letter).
int RunSendmail(const std::vector<std::string>& arguments,
                const SpoolPaths& paths);

// Whether `-bi` stands among the arguments: then the program is newaliases.
bool WantsNewaliases(const std::vector<std::string>& arguments);

}  // namespace holdfast

#endif  // HOLDFAST_CTL_SUBMISSION_SENDMAIL_H_
