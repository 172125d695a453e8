// How a message in the offline folder begins, between the `sendmail` that
// leaves it and the `parent` that hands it in: this word, then the arguments
// behind it, joined by '|', on one line; then the message.
#ifndef HOLDFAST_PROTOCOL_OFFLINE_FILE_H_
#define HOLDFAST_PROTOCOL_OFFLINE_FILE_H_

namespace holdfast {

// A file that somebody wrote for another purpose does not begin so: moved into
// the folder by whoever may move it, it is never taken for a message, and so
// nobody's files can be mailed to somebody else.
inline constexpr char kOfflineFileMark[] = "smtpd-offline-1";

}  // namespace holdfast

#endif  // HOLDFAST_PROTOCOL_OFFLINE_FILE_H_
