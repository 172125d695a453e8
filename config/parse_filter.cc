// `proc` and `filter` (reference part 1, sections 1.5 and 1.11), and what we
// add to them (docs/CONFIGURATION.md).
#include <map>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "config/directives.h"
#include "config/hints.h"
#include "config/milter_socket.h"

namespace holdfast {

bool DirectiveParser::ParseProc() {
  Processor processor;
  if (!ExpectString(&processor.name)) return false;
  processor.position = lexer_.position();
  if (!ExpectString(&processor.command)) return false;
  if (config_->processors.count(processor.name) > 0) {
    return Fail(absl::StrCat("processor already exists with that name: ",
                             processor.name));
  }
  if (!ParseProcOptions(&processor)) return false;
  config_->processors[processor.name] = processor;
  return true;
}

// [user U] [group G] [chroot DIR], and ours
bool DirectiveParser::ParseProcOptions(Processor* processor) {
  std::set<std::string> seen;
  while (true) {
    bool taken = false;
    if (!ParseFilterCare(&processor->care, "processor", &seen, &taken))
      return false;
    if (taken) continue;
    const bool protocol = PeekWord("protocol");
    if (!PeekAnyKeyword({"user", "group", "chroot"}) && !protocol) return true;
    const std::string option = Take().text;
    std::string value;
    if (!ExpectString(&value)) return false;
    if (!seen.insert(option).second) {
      return Fail(
          absl::StrCat(option, " already specified for this processor"));
    }
    if (protocol && value != "0.5" && value != "0.6" && value != "0.7") {
      Fail(absl::StrCat("unknown filter protocol: ", value));
      Hint("0.5, 0.6 and 0.7 are known");
      return false;
    }
    (protocol            ? processor->protocol
     : option == "user"  ? processor->user
     : option == "group" ? processor->group
                         : processor->chroot) = value;
  }
}

// [on-failure accept|tempfail] [timeout TIME], one of them
bool DirectiveParser::ParseFilterCare(FilterCare* care, absl::string_view what,
                                      std::set<std::string>* seen,
                                      bool* taken) {
  const bool on_failure = PeekWord("on-failure");
  if (!on_failure && !PeekWord("timeout")) return true;
  *taken = true;
  const std::string option = Take().text;
  if (!seen->insert(option).second) {
    return Fail(absl::StrCat(option, " already specified for this ", what));
  }
  if (!on_failure) {
    // A question that may take no time would never be answered.
    return ExpectDelay("invalid timeout", &care->timeout) &&
           (care->timeout > absl::ZeroDuration() ||
            Fail("invalid timeout: 0s"));
  }
  care->accept_on_failure = TakeWord("accept");
  return care->accept_on_failure || TakeWord("tempfail") || SyntaxError();
}

// SOCKET, and options
bool DirectiveParser::ParseMilter(Filter* filter) {
  std::string text;
  if (!ExpectString(&text)) return false;
  const absl::StatusOr<MilterSocket> socket = ParseMilterSocket(text);
  if (!socket.ok()) {
    Fail(absl::StrCat("invalid socket of a milter: ", Printable(text)));
    Hint(socket.status().message());
    return false;
  }
  filter->milter = socket->Text();
  std::set<std::string> seen;
  while (true) {
    bool taken = false;
    if (!ParseFilterCare(&filter->care, "filter", &seen, &taken)) return false;
    if (!taken) return true;
  }
}

bool DirectiveParser::ParseFilter() {
  Filter filter;
  if (!ExpectString(&filter.name)) return false;
  filter.position = lexer_.position();
  if (config_->filters.count(filter.name) > 0) {
    return Fail(
        absl::StrCat("filter already exists with that name: ", filter.name));
  }
  if (TakeKeyword("proc")) {
    if (!ExpectString(&filter.proc)) return false;
    if (config_->processors.count(filter.proc) == 0) {
      return FailWithHint(
          absl::StrCat("no processor exist with that name: ", filter.proc),
          filter.proc, KeysOf(config_->processors));
    }
  } else if (TakeKeyword("proc-exec")) {
    Processor processor;
    processor.position = filter.position;
    processor.name = filter.proc = filter.name;
    filter.proc_exec = true;
    if (!ExpectString(&processor.command)) return false;
    if (!ParseProcOptions(&processor)) return false;
    // One `proc` of the same name loses its program, as in the reference.
    config_->processors[processor.name] = processor;
  } else if (TakeKeyword("phase")) {
    filter.kind = Filter::Kind::kPhase;
    if (!ParsePhaseFilter(&filter.phase)) return false;
  } else if (TakeKeyword("chain")) {
    filter.kind = Filter::Kind::kChain;
    if (!ParseFilterChain(&filter.chain)) return false;
  } else if (TakeWord("milter")) {
    filter.kind = Filter::Kind::kMilter;
    if (!ParseMilter(&filter)) return false;
  } else {
    return SyntaxError();
  }
  const std::string name = filter.name;
  config_->filters.emplace(name, std::move(filter));
  return true;
}

bool DirectiveParser::ParseFilterChain(std::vector<std::string>* chain) {
  if (!ParseStringList(chain)) return false;
  std::set<std::string> seen;
  for (const std::string& name : *chain) {
    const auto found = config_->filters.find(name);
    if (found == config_->filters.end()) return FailNoFilter(name);
    if (found->second.kind == Filter::Kind::kChain) {
      return Fail(absl::StrCat(
          "no filter chain allowed within a filter chain: ", name));
    }
    if (!seen.insert(name).second) {
      return Fail(absl::StrCat(
          "no filter allowed twice within a filter chain: ", name));
    }
  }
  return true;
}

bool DirectiveParser::FailNoFilter(const std::string& name) {
  return FailWithHint(absl::StrCat("no filter exist with that name: ", name),
                      name, KeysOf(config_->filters));
}

// NAME, or { A, B }: a chain without a name of its own.
bool DirectiveParser::ParseFilterReference(std::string* name) {
  if (Peek().Is('{')) {
    Filter filter;
    filter.position = lexer_.position();
    filter.kind = Filter::Kind::kChain;
    if (!ParseFilterChain(&filter.chain)) return false;
    do {
      filter.name = absl::StrFormat("<dynchain:%08x>", anonymous_chains_++);
    } while (config_->filters.count(filter.name) > 0);
    *name = filter.name;
    config_->filters.emplace(*name, std::move(filter));
    return true;
  }
  if (!ExpectString(name)) return false;
  return config_->filters.count(*name) > 0 || FailNoFilter(*name);
}

// PHASE match [!]CONDITION DECISION
bool DirectiveParser::ParsePhaseFilter(PhaseFilter* filter) {
  if (!PeekAnyKeyword({"connect", "helo", "ehlo", "auth", "mail-from",
                       "rcpt-to", "data", "commit"})) {
    return SyntaxError();
  }
  filter->phase = Take().text;
  if (!ExpectKeyword("match")) return false;
  filter->criterion.negated = TakeChar('!');
  return ParsePhaseCondition(filter) && ParsePhaseDecision(filter);
}

bool DirectiveParser::ParsePhaseCondition(PhaseFilter* filter) {
  // How far the dialogue has come: what a phase may look at.
  const std::string& phase = filter->phase;
  const int reached = phase == "connect"                   ? 0
                      : phase == "helo" || phase == "ehlo" ? 1
                      : phase == "auth"                    ? 2
                      : phase == "rcpt-to"                 ? 4
                                                           : 3;
  struct Condition {
    absl::string_view word;
    int from;       // the stage at which it is known
    bool optional;  // works without a table
  };
  for (const Condition& condition :
       {Condition{"rdns", 0, true}, Condition{"src", 0, false},
        Condition{"helo", 1, false}, Condition{"auth", 2, true},
        Condition{"mail-from", 3, false}, Condition{"rcpt-to", 4, false}}) {
    if (reached < condition.from || !TakeKeyword(condition.word)) continue;
    filter->condition = std::string(condition.word);
    Criterion& criterion = filter->criterion;
    criterion.regex = TakeKeyword("regex");
    if (condition.optional && !criterion.regex && !PeekTableArgument()) {
      return true;
    }
    if (!ParseTableArgument(&criterion.table)) return false;
    if (criterion.regex) NoteRegex(criterion.table);
    return true;
  }
  filter->condition = "fcrdns";
  return ExpectKeyword("fcrdns");
}

bool DirectiveParser::ParsePhaseDecision(PhaseFilter* filter) {
  if (filter->phase != "commit" && PeekAnyKeyword({"junk", "bypass"})) {
    filter->decision = Take().text;
    return true;
  }
  if (!PeekAnyKeyword({"reject", "disconnect", "rewrite", "report"})) {
    return SyntaxError();
  }
  filter->decision = Take().text;
  return ExpectString(&filter->argument);
}

}  // namespace holdfast
