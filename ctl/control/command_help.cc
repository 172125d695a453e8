#include "ctl/control/command_help.h"

#include <algorithm>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "ctl/control/command_grammar.h"

namespace holdfast {
namespace {

constexpr absl::string_view kActOptions = "--yes --token";
constexpr absl::string_view kActs =
    "Without --yes it only shows what it would do, and a token;\n"
    "  --yes           does it\n"
    "  --token TOKEN   does what was shown with this token\n";
constexpr absl::string_view kListDetails =
    "FILTER compares fields: 'domain = example.org and age > 2h'.\n"
    "  --sort FIELD[,desc]\n"
    "  --limit N\n"
    "  --count         how many\n"
    "  --group-by FIELD\n"
    "  --format text|json|csv|FIELD,FIELD...\n";
constexpr absl::string_view kWhich =
    "An envelope's id has 16 hexadecimal digits, a message's 8.\n";

constexpr CommandHelp kHelp[] = {
    {"completion", "a script for the shell that completes smtpctl's words",
     "bash: source <(smtpctl completion bash)\n"
     "zsh:  source <(smtpctl completion zsh), after compinit\n",
     ""},
    {"disable route", "takes a route out of service", "", ""},
    {"discover", "says how many of these envelopes are queued", kWhich, ""},
    {"enable route", "ends the rest of a route", "", ""},
    {"encrypt", "hashes passwords, from standard input, one a line",
     "  -s              SCRAM verifiers instead of crypt(3) hashes\n"
     "An argument is seen by others on the machine.\n",
     ""},
    {"explain", "tells where mail for a recipient would go, and why", "",
     "from via src rdns helo auth tls"},
    {"help", "tells what commands there are", "", ""},
    {"history", "every attempt to deliver these envelopes", kWhich, ""},
    {"log", "more lines in the log, or fewer", "", ""},
    {"monitor", "rates, a line every second", "", ""},
    {"pause envelope", "suspends envelopes", kWhich, ""},
    {"pause mda", "starts no more local deliveries", "", ""},
    {"pause mta", "starts no more relaying", "", ""},
    {"pause mta from", "connects no more from an address for a domain",
     "[] is the address of actions without src.\n", ""},
    {"pause smtp", "accepts no more connections", "", ""},
    {"profile", "writes to the log what things cost", "", ""},
    {"queue backup", "makes a verified copy of the queue",
     "The folder must not be there yet.  The server may run.\n", ""},
    {"queue bounce", "returns envelopes to their senders", kActs,
     "--yes --token --text"},
    {"queue check", "whether every invariant of the store holds", "",
     "--repair"},
    {"queue compact", "gives unused pages back to the file system",
     "smtpd has to be stopped.\n", ""},
    {"queue expire", "lets envelopes expire now", kActs, kActOptions},
    {"queue export", "writes envelopes and messages to standard output",
     "--move, before the filter: they leave the queue once the file is whole\n"
     "and synced.\n",
     "--move"},
    {"queue hold", "keeps envelopes from being tried", kActs, kActOptions},
    {"queue import",
     "takes in what `queue export` wrote, or another server's spool",
     "--check looks at the archive and takes nothing.  Ids that are free are\n"
     "kept; --same-ids keeps all or fails, --renumber none.  --again takes "
     "back\n"
     "what this queue had itself, --trust commands of aliases, too.\n"
     "--from opensmtpd|postfix DIR reads a spool of a server that is stopped:\n"
     "--action NAME relays its mail, --ttl DELAY is its life, --key FILE (- "
     "is\n"
     "standard input) opens an encrypted queue of OpenSMTPD.\n",
     "--check --same-ids --renumber --again --trust --from --action --ttl "
     "--key"},
    {"queue list", "envelopes that a filter matches", kListDetails,
     "--sort --limit --count --group-by --format"},
    {"queue log", "what operators did to the queue", "", "--json"},
    {"queue rekey", "seals the queue with the newest key", "", ""},
    {"queue release", "ends the hold of envelopes", kActs, kActOptions},
    {"queue remove", "removes envelopes; nobody is told", kActs, kActOptions},
    {"queue reroute", "sends envelopes elsewhere", kActs, "--to --yes --token"},
    {"queue schedule", "tries envelopes now", kActs, kActOptions},
    {"queue set", "changes a field of envelopes", kActs, kActOptions},
    {"queue stat", "pages, space and age of the store", "", ""},
    {"remove", "removes envelopes; nobody is told", kWhich, ""},
    {"resume envelope", "ends `pause envelope`", kWhich, ""},
    {"resume mda", "ends `pause mda`", "", ""},
    {"resume mta", "ends `pause mta`", "", ""},
    {"resume mta from", "ends `pause mta from`", "", ""},
    {"resume route", "ends the rest of a route", "", ""},
    {"resume smtp", "ends `pause smtp`", "", ""},
    {"schedule", "tries envelopes now", kWhich, ""},
    {"show doubt", "what was being delivered when something crashed", "", ""},
    {"show envelope", "all fields of an envelope", "", ""},
    {"show hosts", "hosts that mail goes to", "", ""},
    {"show hoststats", "what was said last for each domain", "", ""},
    {"show ledger", "what became of all that was ever accepted", "", ""},
    {"show message", "the text of a message",
     "  --headers       only its header\n"
     "  --raw           lines end as on the wire, by CRLF\n",
     ""},
    {"show mta paused", "what `pause mta from` has blocked", "", ""},
    {"show queue", "the queue, a line for each envelope",
     "evpid|origin|kind|flags|sender|rcpt|dest|created|expires|last try|\n"
     "tries|state|seconds until the next|last error\n",
     ""},
    {"show relays", "destinations mail is on its way to", "", ""},
    {"show routes", "pairs of a source and a host", "", ""},
    {"show stats", "counters", "", ""},
    {"show status", "what is running and what is paused", "", ""},
    {"spf walk", "the networks in the SPF records of domains",
     "Domains come from standard input, one a line.\n", ""},
    {"top", "a live view of the whole", "", ""},
    {"trace", "writes more about a subsystem to the log",
     "imsg io smtp filters mta bounce scheduler lookup stat rules mproc\n"
     "expand all\n",
     ""},
    {"unprofile", "ends `profile`", "", ""},
    {"untrace", "ends `trace`", "", ""},
    {"update table", "reads the file of a table again", "", ""},
};

constexpr size_t kColumn = 34;

// `words` begins with whole words of `begin`.
bool BeginsWith(absl::string_view words, absl::string_view begin) {
  return absl::StartsWith(words, begin) &&
         (words.size() == begin.size() || words[begin.size()] == ' ');
}

// Each of the words typed begins the one that stands there.
bool Fits(absl::string_view line, const std::vector<std::string>& words) {
  const std::vector<std::string> there = absl::StrSplit(line, ' ');
  if (words.size() > there.size()) return false;
  for (size_t i = 0; i < words.size(); ++i)
    if (!absl::StartsWith(there[i], words[i])) return false;
  return true;
}

void AppendLine(absl::string_view line, const CommandHelp* help,
                std::string* text) {
  absl::StrAppend(text, "  ", line);
  if (help == nullptr) return text->push_back('\n');
  if (line.size() >= kColumn)
    absl::StrAppend(text, "\n", std::string(kColumn + 2, ' '));
  else
    text->append(kColumn - line.size(), ' ');
  absl::StrAppend(text, help->summary, "\n");
}

constexpr absl::string_view kHead =
    "usage: smtpctl [--spool PATH] COMMAND [--json]\n\n"
    "Words may be abbreviated.  `smtpctl help COMMAND` tells more.\n\n";

}  // namespace

absl::Span<const CommandHelp> AllCommandHelp() { return kHelp; }

const CommandHelp* FindCommandHelp(absl::string_view command) {
  const CommandHelp* best = nullptr;
  for (const CommandHelp& help : kHelp)
    if (BeginsWith(command, help.words) &&
        (best == nullptr || help.words.size() > best->words.size()))
      best = &help;
  return best;
}

absl::optional<std::string> HelpText(const std::vector<std::string>& words) {
  std::string text(words.empty() ? kHead : "");
  std::vector<const CommandHelp*> found;
  const std::string exact = absl::StrJoin(words, " ");
  const bool whole =
      std::any_of(CommandLines().begin(), CommandLines().end(),
                  [&](absl::string_view l) { return BeginsWith(l, exact); });
  for (const absl::string_view line : CommandLines()) {
    if (!words.empty() &&
        !(whole ? BeginsWith(line, exact) : Fits(line, words)))
      continue;
    const CommandHelp* help = FindCommandHelp(line);
    const bool first =
        std::find(found.begin(), found.end(), help) == found.end();
    AppendLine(line, first ? help : nullptr, &text);
    if (first) found.push_back(help);
  }
  if (found.empty()) return absl::nullopt;
  if (words.empty() || found.size() > 1 || found[0] == nullptr) return text;
  if (!found[0]->details.empty())
    absl::StrAppend(&text, "\n", found[0]->details);
  return text;
}

}  // namespace holdfast
