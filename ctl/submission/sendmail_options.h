// The command line of sendmail (reference part 2, section 6.1).  Pure.
#ifndef HOLDFAST_CTL_SUBMISSION_SENDMAIL_OPTIONS_H_
#define HOLDFAST_CTL_SUBMISSION_SENDMAIL_OPTIONS_H_

#include <optional>
#include <string>
#include <vector>

namespace holdfast {

struct SendmailOptions {
  std::optional<std::string> sender;  // -f, -r, without brackets; empty: null
  std::string full_name;              // -F
  bool recipients_from_headers = false;  // -t
  bool verbose = false;                  // -v
  bool no_login_name = false;            // -S
  bool newaliases = false;               // -bi: act as newaliases
  std::string notify, ret, envid;        // -N, -R, -V: verbatim
  std::vector<std::string> recipients;   // the other arguments

  // Set: stop here with this status, after saying `error` (may be empty) on
  // stderr.
  std::optional<int> exit;
  std::string error;  // whole lines
};

// `arguments` without the program's name.  Options and recipients may be mixed,
// as with getopt(3); "--" ends the options.
SendmailOptions ParseSendmailOptions(const std::vector<std::string>& arguments);

}  // namespace holdfast

#endif  // HOLDFAST_CTL_SUBMISSION_SENDMAIL_OPTIONS_H_
