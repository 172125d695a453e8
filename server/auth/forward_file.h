// A user's ~/.forward, opened as that user (reference part 1, section 3.6).
#ifndef HOLDFAST_SERVER_AUTH_FORWARD_FILE_H_
#define HOLDFAST_SERVER_AUTH_FORWARD_FILE_H_

#include <sys/types.h>

#include <string>

#include "server/door/lookup_messages.h"

namespace holdfast {

// Reads <home>/.forward as whoever this process is now.  Refused are: links
// and other than regular files, files that are not `uid`'s, folders that are
// neither `uid`'s nor root's, and what others may write to.  Everything is
// asked of what was opened, so that nobody can exchange it in between.  Does
// not wait for writers of pipes; may wait for a file server.
ForwardAnswer ReadForward(const std::string& home, uid_t uid);

// Answers by ReadForward(), as the user if this process is root's, and is who
// it was again afterwards.  Not for processes with more than one thread.
ForwardAnswer AnswerForward(const ForwardQuestion& question);

}  // namespace holdfast

#endif  // HOLDFAST_SERVER_AUTH_FORWARD_FILE_H_
