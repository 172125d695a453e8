#include "ctl/top/top.h"

#include <unistd.h>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "ctl/control/whole_io.h"
#include "ctl/top/terminal.h"
#include "ctl/top/top_json.h"
#include "ctl/top/top_link.h"
#include "ctl/top/top_screen.h"
#include "ctl/top/top_session.h"
#include "protocol/top_snapshot.h"
#include "protocol/vis.h"

namespace holdfast {
namespace {

// Between the two snapshots whose rates are printed.
constexpr absl::Duration kSample = absl::Seconds(1);

int Fail(absl::string_view program, const absl::Status& status) {
  const std::string why = absl::IsUnavailable(status)
                              ? "smtpd doesn't seem to be running"
                              : VisEncode(std::string(status.message()));
  WriteAll(STDERR_FILENO, absl::StrCat(program, ": ", why, "\n"));
  return 1;
}

int PrintOnce(const TopOptions& options, const std::string& socket,
              absl::string_view program) {
  TopLink link(socket, options.limit);
  const absl::StatusOr<TopSnapshot> before = link.Get();
  if (!before.ok()) return Fail(program, before.status());
  absl::SleepFor(kSample);
  absl::StatusOr<TopSnapshot> after = link.Get();
  if (!after.ok()) return Fail(program, after.status());
  TopView view;
  view.figures = FiguresOf(*before, *after);
  view.snapshot = *std::move(after);
  return WriteAll(STDOUT_FILENO, options.json
                                     ? TopJson(*view.snapshot, view.figures)
                                     : TopText(view))
             ? 0
             : 1;
}

}  // namespace

absl::StatusOr<TopOptions> ParseTopOptions(
    const std::vector<std::string>& words) {
  TopOptions options;
  for (size_t i = 0; i < words.size(); ++i) {
    if (words[i] == "--once") {
      options.once = true;
    } else if (words[i] == "--json") {
      options.json = true;
    } else if (words[i] == "--limit" && i + 1 < words.size()) {
      if (!absl::SimpleAtoi(words[++i], &options.limit) ||
          options.limit > kMaxTopDestinations)
        return absl::InvalidArgumentError(
            absl::StrCat("--limit: a number from 0 to ", kMaxTopDestinations));
    } else {
      return absl::InvalidArgumentError(
          "usage: smtpctl top [--once] [--json] [--limit number]");
    }
  }
  return options;
}

int RunTop(const std::vector<std::string>& words, const std::string& socket,
           absl::string_view program) {
  const absl::StatusOr<TopOptions> options = ParseTopOptions(words);
  if (!options.ok()) return Fail(program, options.status());
  if (options->once || options->json ||
      !Terminal::IsOne(STDIN_FILENO, STDOUT_FILENO))
    return PrintOnce(*options, socket, program);
  // Whoever may not look, or misspelt the spool, is told before the screen
  // changes.
  TopLink link(socket, options->limit);
  absl::StatusOr<TopSnapshot> first = link.Get();
  if (!first.ok()) return Fail(program, first.status());
  Terminal terminal(STDIN_FILENO, STDOUT_FILENO);
  TopSession session(&link, &terminal, STDIN_FILENO);
  return session.Run(*std::move(first));
}

}  // namespace holdfast
