// ledger-check: says what of the acknowledged mail is lost, repeated or
// damaged, from the ledgers of smtp-load and smtp-blackhole, the Maildirs, and
// the output of `smtpctl show queue` and `smtpctl show doubt`.
//
// One line of JSON on standard output, examples on standard error.  Exit: 0 all
// is well; 1 not; 2 usage or unreadable input.
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <functional>
#include <string>
#include <system_error>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "ctl/load/flags.h"
#include "ctl/load/ledger.h"
#include "ctl/load/ledger_compare.h"
#include "ctl/load/load_message.h"

namespace holdfast {
namespace {

constexpr int kUsageError = 2;

absl::Status AddLedgerFile(LedgerCompare& compare, const std::string& path) {
  const auto entries = ReadLedger(path);
  if (!entries.ok()) return entries.status();
  compare.AddLedger(*entries);
  return absl::OkStatus();
}

absl::Status EachLine(const std::string& path,
                      const std::function<void(const std::string&)>& take) {
  std::ifstream file(path, std::ios::binary);
  if (!file) return absl::NotFoundError(absl::StrCat("can't read ", path));
  for (std::string line; std::getline(file, line);) take(line);
  return absl::OkStatus();
}

absl::Status AddMaildirFile(LedgerCompare& compare,
                            const std::filesystem::path& path) {
  LoadMessageReader reader;
  const absl::Status read = EachLine(
      path.string(), [&reader](const std::string& line) { reader.Line(line); });
  if (!read.ok()) return read;
  MaildirCopy copy;
  copy.name = path.string();
  copy.envelope = EnvelopeInMaildirName(path.filename().string());
  copy.id = reader.id();
  copy.recipient = reader.delivered_to();
  copy.intact = !reader.has_checksum() || reader.intact();
  compare.AddMaildir(copy);
  return absl::OkStatus();
}

// A Maildir that is not there yet is empty.
absl::Status AddMaildirFolder(LedgerCompare& compare, const std::string& path) {
  for (const char* folder : {"new", "cur"}) {
    std::error_code error;
    std::filesystem::directory_iterator files(
        std::filesystem::path(path) / folder, error);
    if (error == std::errc::no_such_file_or_directory) continue;
    if (error) return absl::NotFoundError(absl::StrCat(path, ": unreadable"));
    for (const auto& file : files) {
      const absl::Status added = AddMaildirFile(compare, file.path());
      if (!added.ok()) return added;
    }
  }
  return absl::OkStatus();
}

void Explain(const char* what, const LedgerCompare::Finding& finding) {
  if (finding.count == 0) return;
  fprintf(stderr, "%s: %lld, for example\n", what,
          static_cast<long long>(finding.count));
  for (const std::string& example : finding.examples) {
    fprintf(stderr, "  %s\n", example.c_str());
  }
}

int Main(int argc, char** argv) {
  LedgerCompare compare;
  bool help = false;
  Flags flags("ledger-check [options]");
  const auto ledger = [&](const std::string& path) {
    return AddLedgerFile(compare, path);
  };
  flags.Each("load", ledger, "ledger of smtp-load; any number");
  flags.Each("sink", ledger, "ledger of smtp-blackhole; any number");
  flags.Each(
      "maildir",
      [&](const std::string& path) { return AddMaildirFolder(compare, path); },
      "a Maildir; any number");
  flags.Each(
      "queue",
      [&](const std::string& path) {
        return EachLine(
            path, [&](const std::string& line) { compare.AddQueueLine(line); });
      },
      "output of `smtpctl show queue`");
  flags.Each(
      "doubt",
      [&](const std::string& path) {
        return EachLine(
            path, [&](const std::string& line) { compare.AddDoubtLine(line); });
      },
      "output of `smtpctl show doubt`; one for each restart");
  flags.Switch("help", &help, "this text");
  const auto words = flags.Parse(argc, argv);
  if (!words.ok() || !words->empty()) {
    fprintf(stderr, "ledger-check: %s\n%s", words.status().ToString().c_str(),
            flags.Help().c_str());
    return kUsageError;
  }
  if (help) {
    fputs(flags.Help().c_str(), stdout);
    return 0;
  }
  const LedgerCompare::Result result = compare.Compare();
  printf("%s\n", result.Json().c_str());
  Explain("lost", result.lost);
  Explain("repeated though not in doubt", result.repeated);
  Explain("taken though refused", result.refused_too);
  Explain("twice in a Maildir", result.repeated_maildir);
  Explain("delivered and still queued", result.elsewhere_too);
  Explain("damaged", result.damaged);
  Explain("never sent", result.unexpected);
  return result.ok() ? 0 : 1;
}

}  // namespace
}  // namespace holdfast

int main(int argc, char** argv) { return holdfast::Main(argc, argv); }
