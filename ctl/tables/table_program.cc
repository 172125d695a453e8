#include "ctl/tables/table_program.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "ctl/tables/table_asker.h"
#include "ctl/tables/table_conversation.h"
#include "protocol/secret.h"
#include "protocol/table_lines.h"
#include "protocol/vis.h"

namespace holdfast {
namespace {

using Log = std::function<void(const std::string&)>;

absl::Duration MonotonicNow() {
  timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return absl::DurationFromTimespec(now);
}

bool WriteAll(absl::string_view text) {
  while (!text.empty()) {
    const ssize_t wrote = write(STDOUT_FILENO, text.data(), text.size());
    if (wrote < 0 && errno == EINTR) continue;
    if (wrote <= 0) return false;
    text.remove_prefix(static_cast<size_t>(wrote));
  }
  return true;
}

// One table: its configuration, read, and who is asked.
class Table {
 public:
  Table(const TableProgram& program, std::string path, std::string name)
      : program_(program), path_(std::move(path)), name_(std::move(name)) {}

  void Say(absl::string_view text) const {
    // smtpd puts the table's name before it.
    const std::string line =
        absl::StrCat(program_.name, ": ", VisEncode(text), "\n");
    fputs(line.c_str(), stderr);
  }

  // What is said of the connection is in the answer, too.
  void Hush() { hushed_ = true; }

  // Reads the configuration.  Only if it is good it takes the place of the
  // one before.  `connect`: and if the server can be asked with it.
  absl::Status Load(bool connect) {
    absl::StatusOr<std::unique_ptr<TableAsker>> asker = Read();
    if (!asker.ok()) return asker.status();
    if (connect) {
      const absl::Status status = (*asker)->Connect();
      if (!status.ok()) return status;
    }
    asker_ = *std::move(asker);
    return absl::OkStatus();
  }

  TableAnswer Answer(const TableRequest& request) {
    if (request.op != TableOp::kUpdate)
      return asker_->Ask(request.op, request.service, request.key);
    const absl::Status status = Load(/*connect=*/true);
    return status.ok() ? TableFound("") : TableError(status.message());
  }

  TableAsker& asker() { return *asker_; }

 private:
  absl::StatusOr<std::unique_ptr<TableAsker>> Read() {
    absl::StatusOr<TableSettings> settings =
        TableSettings::Read(path_, program_.faults);
    if (!settings.ok()) return settings.status();
    const absl::StatusOr<int64_t> limit =
        settings->TakeNumber("timeout", kTableTimeout, 1, kMaxTableTimeout);
    if (!limit.ok()) return limit.status();
    const TableClock clock = MonotonicNow;
    absl::StatusOr<std::unique_ptr<TableBackend>> backend =
        program_.make(&*settings, name_, clock);
    if (!backend.ok()) return backend.status();
    for (const std::string& line : settings->Warnings()) Say(line);
    if ((*backend)->Services().empty())
      return settings->Lacks("answers nothing: no query is configured");
    return std::make_unique<TableAsker>(*std::move(backend),
                                        absl::Seconds(*limit), clock,
                                        [this](const std::string& line) {
                                          if (!hushed_) Say(line);
                                        });
  }

  const TableProgram& program_;
  const std::string path_;
  const std::string name_;
  bool hushed_ = false;
  std::unique_ptr<TableAsker> asker_;
};

// Answers every whole line of `text`; what is left of it is the beginning of
// one.
absl::Status AnswerLines(TableConversation* conversation, std::string* text) {
  size_t start = 0;
  for (size_t end; (end = text->find('\n', start)) != std::string::npos;
       start = end + 1) {
    absl::StatusOr<std::string> answer = conversation->OnLine(
        absl::string_view(*text).substr(start, end - start));
    if (!answer.ok()) return answer.status();
    if (!WriteAll(*answer)) return absl::AbortedError("nobody listens");
    Wipe(&*answer);
  }
  // Keys may be passwords.
  explicit_bzero(text->data(), start);
  text->erase(0, start);
  if (text->size() > kMaxTableLine)
    return absl::InvalidArgumentError("a line is too long");
  return absl::OkStatus();
}

int Converse(Table* table) {
  if (isatty(STDIN_FILENO))
    table->Say(
        "type questions such as table|0.1|0|x|lookup|alias|00000001|joe");
  // Whoever made the socket may have wanted it otherwise.
  for (const int fd : {STDIN_FILENO, STDOUT_FILENO})
    fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) & ~O_NONBLOCK);
  // What is wrong with the server is logged at once.
  table->asker().Connect().IgnoreError();
  TableConversation conversation(
      {table->asker().Services(),
       [table](const TableRequest& request) { return table->Answer(request); },
       absl::Now, [table] { return table->asker().Limit(); }});
  std::string text;
  char buffer[4096];
  for (;;) {
    const ssize_t got = read(STDIN_FILENO, buffer, sizeof(buffer));
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return got == 0 ? 0 : kTableTemporary;
    text.append(buffer, static_cast<size_t>(got));
    const absl::Status status = AnswerLines(&conversation, &text);
    if (absl::IsAborted(status)) return 0;
    if (status.ok()) continue;
    table->Say(status.message());
    // Somebody who types may try again.
    if (!isatty(STDIN_FILENO)) return kTableTemporary;
    text.clear();
  }
}

int Usage(const std::string& name) {
  fprintf(stderr,
          "usage: %s [-n] FILE\n"
          "       %s FILE check|lookup SERVICE KEY\n"
          "       %s FILE fetch SERVICE\n"
          "A KEY of - is read from standard input.\n",
          name.c_str(), name.c_str(), name.c_str());
  return kTableUsage;
}

int Failure(const Table& table, const absl::Status& status) {
  table.Say(status.message());
  return absl::IsInvalidArgument(status) ? kTableWrongSettings
                                         : kTableTemporary;
}

int Check(Table* table) {
  const absl::Status loaded = table->Load(/*connect=*/false);
  if (!loaded.ok()) return Failure(*table, loaded);
  const absl::Status connected = table->asker().Connect();
  // The asker has said why.
  if (!connected.ok())
    return absl::IsInvalidArgument(connected) ? kTableWrongSettings
                                              : kTableTemporary;
  puts("configuration OK");
  return 0;
}

std::string ReadKey() {
  std::string key;
  for (int c;
       key.size() < kMaxTableLine && (c = getchar()) != EOF && c != '\n';)
    key.push_back(static_cast<char>(c));
  return key;
}

int AskOnce(Table* table, const TableProgram& program,
            const std::vector<std::string>& words) {
  TableOp op = TableOp::kFetch;
  if (words[0] == "check") op = TableOp::kCheck;
  if (words[0] == "lookup") op = TableOp::kLookup;
  if ((op == TableOp::kFetch && words[0] != "fetch") ||
      words.size() != (op == TableOp::kFetch ? 2u : 3u) ||
      !IsTableServiceName(words[1]))
    return Usage(program.name);
  const absl::Status loaded = table->Load(/*connect=*/false);
  if (!loaded.ok()) return Failure(*table, loaded);
  table->Hush();
  std::string key = op == TableOp::kFetch ? "" : words[2];
  if (key == "-") key = ReadKey();
  const TableAnswer answer = table->asker().Ask(op, words[1], key);
  switch (answer.result) {
    case TableReply::Result::kFound:
      if (op != TableOp::kCheck) puts(answer.text.c_str());
      return 0;
    case TableReply::Result::kNotFound:
      return kTableNotFound;
    case TableReply::Result::kError:
      break;
  }
  table->Say(answer.text);
  return kTableTemporary;
}

}  // namespace

int RunTableProgram(const TableProgram& program, int argc, char** argv) {
  signal(SIGPIPE, SIG_IGN);
  // Others of this user, such as commands of aliases, need not see what it
  // holds, nor may a core file.
  prctl(PR_SET_DUMPABLE, 0);
  std::vector<std::string> words(argv + (argc > 0 ? 1 : 0), argv + argc);
  // smtpd gives the table's name in the place of the program's.
  std::string name = argc > 0 ? argv[0] : program.name;
  name.erase(0, name.rfind('/') + 1);
  const bool check = !words.empty() && words[0] == "-n";
  if (check) words.erase(words.begin());
  if (words.empty() || words[0].empty() || words[0][0] == '-' ||
      (check && words.size() != 1) || words.size() == 2)
    return Usage(program.name);
  Table table(program, words[0], name);
  if (check) return Check(&table);
  words.erase(words.begin());
  if (!words.empty()) return AskOnce(&table, program, words);
  const absl::Status loaded = table.Load(/*connect=*/false);
  return loaded.ok() ? Converse(&table) : Failure(table, loaded);
}

}  // namespace holdfast
