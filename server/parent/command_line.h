// The command line of smtpd(8) (reference part 1, section 1.13).
#ifndef HOLDFAST_SERVER_PARENT_COMMAND_LINE_H_
#define HOLDFAST_SERVER_PARENT_COMMAND_LINE_H_

#include <string>
#include <vector>

namespace holdfast {

struct CommandLine {
  enum class Output { kDaemon, kForeground, kDebug };  // neither, -F, -d
  Output output = Output::kDaemon;
  bool verbose = false;                         // -v
  bool check_only = false;                      // -n
  std::string config_path = "/etc/smtpd.conf";  // -f
  std::vector<std::string> definitions;         // -D
  std::vector<std::string> paused;              // -P: "mta", "mda", "smtp"
  std::vector<std::string> messages;            // to print on stderr
  bool usage = false;  // print `messages` and the usage; exit with 1
};

// Pure.  `arguments` without the program's name.
CommandLine ParseCommandLine(const std::vector<std::string>& arguments);

// Without a newline.
std::string Usage();

}  // namespace holdfast

#endif  // HOLDFAST_SERVER_PARENT_COMMAND_LINE_H_
