#include "ctl/control/command_grammar.h"

#include <algorithm>
#include <iterator>
#include <optional>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "protocol/queue_listing.h"

namespace holdfast {
namespace {

constexpr absl::string_view kCommands[] = {
    "completion bash",
    "completion zsh",
    "disable route <routeid>",
    "discover <evpid>",
    "discover <msgid>",
    "enable route <routeid>",
    "encrypt",
    "encrypt -s",
    "encrypt -s <string>",
    "encrypt <string>",
    "explain <recipient>",
    "explain <recipient> <from|via|src|rdns|helo|auth|tls>...",
    "help",
    "help <command>...",
    "history <evpid>",
    "history <msgid>",
    "log brief",
    "log verbose",
    "monitor",
    "pause envelope <evpid>",
    "pause envelope <msgid>",
    "pause envelope all",
    "pause mda",
    "pause mta",
    "pause mta from <address> for <domain>",
    "pause smtp",
    "profile <imsg|queue>",
    "queue backup <folder>",
    "queue bounce <filter>...",
    "queue check",
    "queue check --repair",
    "queue compact",
    "queue list",
    "queue list <filter>...",
    "queue expire <filter>...",
    "queue export",
    "queue export <filter>...",
    "queue hold <filter>...",
    "queue import <file>...",
    "queue log",
    "queue rekey",
    "queue release <filter>...",
    "queue remove <filter>...",
    "queue reroute <filter>...",
    "queue schedule <filter>...",
    "queue set <filter>...",
    "queue stat",
    "remove <evpid>",
    "remove <msgid>",
    "remove all",
    "resume envelope <evpid>",
    "resume envelope <msgid>",
    "resume envelope all",
    "resume mda",
    "resume mta",
    "resume mta from <address> for <domain>",
    "resume route <routeid>",
    "resume smtp",
    "schedule <evpid>",
    "schedule <msgid>",
    "schedule all",
    "show doubt",
    "show envelope <evpid>",
    "show hosts",
    "show hoststats",
    "show ledger",
    "show message <evpid>",
    "show message <evpid> --headers",
    "show message <evpid> --raw",
    "show message <msgid>",
    "show message <msgid> --headers",
    "show message <msgid> --raw",
    "show mta paused",
    "show queue",
    "show queue <msgid>",
    "show queue <filter>...",
    "show relays",
    "show routes",
    "show stats",
    "show status",
    "spf walk",
    "top",
    "top <option>...",
    "trace <subsystem>",
    "unprofile <imsg|queue>",
    "untrace <subsystem>",
    "update table <name>",
};

// Words that smtpctl(8) of OpenSMTPD does not know: they leave its
// abbreviations as they are.
constexpr absl::string_view kOwnWords[] = {"completion", "disable", "doubt",
                                           "enable",     "explain", "help",
                                           "history",    "ledger",  "top"};

using Command = std::vector<std::string>;

std::vector<Command> AllCommands() {
  std::vector<Command> commands;
  for (const absl::string_view line : kCommands)
    commands.push_back(absl::StrSplit(line, ' '));
  return commands;
}

bool IsArgument(absl::string_view token) { return token[0] == '<'; }

// All words from here on.
bool IsRest(absl::string_view token) { return absl::EndsWith(token, ">..."); }

bool FitsArgument(absl::string_view token, const std::string& word) {
  if (token == "<evpid>") return ParseEnvelopeId(word).has_value();
  if (token == "<msgid>") return ParseMessageId(word).has_value();
  if (token == "<routeid>") {
    uint64_t n = 0;
    return absl::SimpleAtoi(word, &n) && n >= 1;
  }
  // Digits alone are an id that is not one.
  if (token == "<filter>...")
    return !word.empty() &&
           word.find_first_not_of("0123456789abcdefABCDEF") != word.npos;
  return IsArgument(token) && !word.empty();
}

// What may stand at `at`, each once, in order.
std::vector<std::string> Choices(const std::vector<Command>& commands,
                                 size_t at) {
  std::vector<std::string> choices;
  for (const Command& c : commands)
    if (c.size() > at &&
        std::find(choices.begin(), choices.end(), c[at]) == choices.end())
      choices.push_back(c[at]);
  return choices;
}

bool IsOwnWord(const std::string& word) {
  return std::find(std::begin(kOwnWords), std::end(kOwnWords), word) !=
         std::end(kOwnWords);
}

// Which of `choices` the word means.
std::optional<std::string> Choose(const std::vector<std::string>& choices,
                                  const std::string& word) {
  std::vector<std::string> begun;
  for (const std::string& choice : choices) {
    if (choice == word && !IsArgument(choice)) return choice;
    if (!IsArgument(choice) && !word.empty() && absl::StartsWith(choice, word))
      begun.push_back(choice);
  }
  if (begun.size() > 1)
    begun.erase(std::remove_if(begun.begin(), begun.end(), IsOwnWord),
                begun.end());
  if (begun.size() == 1) return begun[0];
  if (begun.size() > 1) return std::nullopt;
  for (const std::string& choice : choices)
    if (FitsArgument(choice, word)) return choice;
  return std::nullopt;
}

std::vector<std::string> Possibilities(const std::vector<Command>& commands,
                                       const Command& so_far) {
  const std::vector<std::string> choices = Choices(commands, so_far.size());
  if (choices.empty()) return {"invalid command"};
  std::vector<std::string> lines = {"possibilities are:"};
  for (const std::string& choice : choices) {
    Command line = so_far;
    line.push_back(choice);
    lines.push_back(absl::StrJoin(line, " "));
  }
  return lines;
}

}  // namespace

absl::Span<const absl::string_view> CommandLines() { return kCommands; }

ParsedCommand ParseCommand(const std::vector<std::string>& words) {
  ParsedCommand parsed;
  std::vector<Command> commands = AllCommands();
  Command matched;  // tokens of the grammar
  for (const std::string& word : words) {
    const size_t at = matched.size();
    if (at > 0 && IsRest(matched.back())) {
      parsed.words.push_back(word);
      continue;
    }
    const std::optional<std::string> choice =
        Choose(Choices(commands, at), word);
    if (!choice) {
      parsed.words.clear();
      parsed.errors = Possibilities(commands, matched);
      return parsed;
    }
    commands.erase(std::remove_if(commands.begin(), commands.end(),
                                  [&](const Command& c) {
                                    return c.size() <= at || c[at] != *choice;
                                  }),
                   commands.end());
    matched.push_back(*choice);
    parsed.words.push_back(IsArgument(*choice) ? word : *choice);
  }
  for (const Command& c : commands)
    if (c.size() == matched.size() && !matched.empty()) return parsed;
  parsed.words.clear();
  parsed.errors = Possibilities(commands, matched);
  return parsed;
}

}  // namespace holdfast
