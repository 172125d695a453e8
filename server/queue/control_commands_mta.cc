// What relaying is at (reference part 2, sections 5.2 and 5.4): show hosts,
// hoststats, relays, routes, mta paused; enable, disable and resume route;
// pause and resume mta from ADDRESS for DOMAIN.
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/numbers.h"
#include "protocol/ip_address.h"
#include "protocol/vis.h"
#include "server/log/log.h"
#include "server/queue/control_command.h"
#include "server/queue/host_stats.h"
#include "server/queue/router.h"

namespace holdfast {
namespace {

// Lines that are there at once, in pieces that the client asks for.
class ShowLines : public ControlCommand {
 public:
  ShowLines(ControlOutput* output, std::vector<std::string> lines)
      : output_(output), lines_(std::move(lines)) {}

  void OnCredit() override {
    std::string text;
    while (next_ < lines_.size() &&
           text.size() + lines_[next_].size() <= kMaxControlText) {
      text += lines_[next_++];
    }
    if (!text.empty()) return output_->Text(std::move(text));
    output_->Done({});
  }

 private:
  ControlOutput* const output_;
  std::vector<std::string> lines_;
  size_t next_ = 0;
};

std::shared_ptr<ControlCommand> Result(ControlOutput* output, bool ok) {
  ControlDone done;
  done.ok = ok;
  return MakeAnswer(output, ok ? "command succeeded\n" : "command failed\n",
                    done);
}

std::optional<std::vector<std::string>> Lines(
    const std::vector<std::string>& words, QueueServices* services) {
  if (words[0] != "show") return std::nullopt;
  const absl::Duration now = services->loop()->Elapsed();
  const Router& router = *services->router();
  if (words.size() == 3 && words[1] == "mta" && words[2] == "paused") {
    return router.BlockLines();
  }
  if (words.size() != 2) return std::nullopt;
  if (words[1] == "hosts") return router.HostLines(now);
  if (words[1] == "relays") return router.RelayLinesOfAll(now);
  if (words[1] == "routes") return router.RouteLines(now);
  if (words[1] == "hoststats") {
    return services->host_stats()->Lines(services->loop()->Now());
  }
  return std::nullopt;
}

// enable|disable|resume route N.  The reference's `resume` succeeds whatever
// the number.
std::shared_ptr<ControlCommand> ActOnRoute(
    const std::vector<std::string>& words, QueueServices* services,
    ControlOutput* output) {
  uint64_t id = 0;
  if (!absl::SimpleAtoi(words[2], &id)) return Result(output, false);
  Router* router = services->router();
  if (words[0] == "disable") return Result(output, router->DisableRoute(id));
  const bool found = router->EnableRoute(id);
  return Result(output, found || words[0] == "resume");
}

// "[]" is the unspecified source, which the reference cannot name.
std::optional<std::string> ParseSource(const std::string& word) {
  if (word == "[]") return "";
  std::optional<IpAddress> address = IpAddress::Parse(word);
  if (!address) address = ParseAddressLiteral(word);
  if (!address && word.size() > 2 && word.front() == '[' &&
      word.back() == ']') {
    address = IpAddress::Parse(word.substr(1, word.size() - 2));
  }
  if (!address) return std::nullopt;
  return address->ToString();
}

std::shared_ptr<ControlCommand> ActOnBlock(
    const std::vector<std::string>& words, QueueServices* services,
    ControlOutput* output) {
  const std::optional<std::string> source = ParseSource(words[3]);
  const std::string& domain = words[5];
  constexpr size_t kMaxDomain = 255;
  if (!source || domain.size() > kMaxDomain) return Result(output, false);
  const bool pause = words[0] == "pause";
  bool ok = true;
  if (pause) {
    ok = services->router()->Block(*source, domain);
  } else {
    services->router()->Unblock(*source, domain);
  }
  if (ok) {
    LogInfo("info: mta from %s for %s %s", PrintedAddress(*source),
            VisEncode(domain), pause ? "paused" : "resumed");
  }
  return Result(output, ok);
}

}  // namespace

std::shared_ptr<ControlCommand> MakeMtaCommand(
    const std::vector<std::string>& words, QueueServices* services,
    ControlOutput* output) {
  if (words.size() < 2) return nullptr;
  if (auto lines = Lines(words, services)) {
    return std::make_shared<ShowLines>(output, *std::move(lines));
  }
  const std::string& verb = words[0];
  if (words.size() == 3 && words[1] == "route" &&
      (verb == "enable" || verb == "disable" || verb == "resume")) {
    return ActOnRoute(words, services, output);
  }
  if (words.size() == 6 && (verb == "pause" || verb == "resume") &&
      words[1] == "mta" && words[2] == "from" && words[4] == "for") {
    return ActOnBlock(words, services, output);
  }
  return nullptr;
}

}  // namespace holdfast
