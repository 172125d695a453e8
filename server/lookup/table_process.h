// The program of one table, as `lookup` talks to it (smtpd-tables(7), protocol
// 0.1; protocol/table_lines.h).  Parent starts it, and starts it again whenever
// it has ended.
//
// Questions are open together and answered in any order.  What does not come
// in time, or makes no sense, is an error of the question (or what the program
// said last, if the table's `keep` allows that), and never ends more than the
// program: one that says what cannot be understood or was not asked, or owes
// answers and says nothing at all for longer than a question may take, is
// killed.  What it was asked is then asked once more of the next one.
//
// A program that cannot keep up is not given more and more: what it still has
// to answer is bounded, whether somebody waits for it or not.  The time in a
// request is when the question was asked, so that one that answers in order can
// leave out what comes too late for anybody.
#ifndef HOLDFAST_SERVER_LOOKUP_TABLE_PROCESS_H_
#define HOLDFAST_SERVER_LOOKUP_TABLE_PROCESS_H_

#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>

#include "absl/functional/any_invocable.h"
#include "absl/strings/string_view.h"
#include "config/table_answers.h"
#include "server/lookup/kept_answers.h"
#include "server/loop/event_loop.h"
#include "server/loop/stream.h"

namespace holdfast {

// Of one table: questions that are not answered; further ones are errors.
inline constexpr size_t kMaxOpenTableQuestions = 2000;
// Answers that the program owes at once, those that nobody waits for any more
// among them; other questions wait here.
inline constexpr size_t kMaxSentTableQuestions = 64;
// From its start until it is ready.
inline constexpr absl::Duration kTableGreetingTimeout = absl::Minutes(1);
// Lines about it in the log in a minute; of others only how many they were.
inline constexpr int kMaxTableWarnings = 20;

// Used on the loop's thread.
class TableProcess {
 public:
  // Called once, in a later turn than that of the question; never after this
  // object is gone.  kUnimplemented: the program does not offer the service.
  using Done = absl::AnyInvocable<void(TableResult)>;
  struct Setup {
    EventLoop* loop = nullptr;
    std::string name;
    TableCare care;
    std::function<uint32_t()> random;
    // Asks parent to kill the program of this start.
    std::function<void(uint64_t number)> kill;
  };

  explicit TableProcess(Setup setup);
  ~TableProcess();
  TableProcess(const TableProcess&) = delete;
  TableProcess& operator=(const TableProcess&) = delete;

  // It runs.
  void OnStarted(uint64_t number, std::unique_ptr<Stream> stream);
  // It has ended; nothing happens if another one has started since.
  void OnEnded(uint64_t number);

  // kUpdate: it is to read again what it answers from.
  void Ask(TableQuery query, Done done);

  // Questions that are open.
  size_t open() const { return requests_.size(); }

 private:
  enum class State : uint8_t {
    kDown,      // there is none
    kGreeting,  // has not said yet what it offers
    kReady,
    kBroken,  // to be killed
  };
  struct Request {
    TableQuery query;
    Done done;
    std::string id;  // empty: the program does not have it
    absl::Duration asked_at;
    bool sent_before = false;  // to one that failed
    EventLoop::Timer timer;
    bool over = false;  // `timer` gives `result`
    TableResult result = absl::UnknownError("");
  };
  using RequestRef = std::map<uint64_t, Request>::iterator;

  void OnBytes(absl::string_view bytes);
  void OnLine(absl::string_view line);
  void OnRegistration(absl::string_view line);
  void OnReply(absl::string_view line);
  // Its questions go to the next one.
  void Lose();
  void Break(const std::string& why);
  void SendWaiting();
  bool Waits(uint64_t number) const;
  void Send(uint64_t number);
  std::string NewId();
  void OnTimeout(uint64_t number);
  size_t Owed() const { return sent_.size() + late_.size(); }
  // It owes answers and has said nothing for as long as a question may take.
  bool Hangs() const;
  // Ends a question without an answer of the program.
  void Fail(RequestRef request, absl::Status why);
  void Answer(RequestRef request, TableResult result);
  // The same in a coming turn.
  void AnswerLater(Request* request, uint64_t number, TableResult result);
  void NoteAnswers();
  void Warn(const TableQuery& query, absl::string_view why);
  void WarnLine(const std::string& line);

  const Setup setup_;
  State state_ = State::kDown;
  uint64_t number_ = 0;  // of the start
  std::unique_ptr<Stream> stream_;
  EventLoop::Timer greeting_;
  std::string input_;  // not yet a whole line
  std::set<std::string> services_;
  // When it said anything, or began to owe an answer.
  absl::Duration heard_ = absl::ZeroDuration();

  uint64_t last_request_ = 0;
  std::map<uint64_t, Request> requests_;
  std::deque<uint64_t> waiting_;          // may name what is over
  std::map<std::string, uint64_t> sent_;  // by id
  // Ids that nobody waits for: what it answers to them is thrown away.
  std::set<std::string> late_;
  KeptAnswers kept_;
  bool uses_kept_ = false;

  int warnings_ = 0;  // of the minute that ends at warnings_until_
  absl::Duration warnings_until_ = absl::ZeroDuration();
};

}  // namespace holdfast

#endif  // HOLDFAST_SERVER_LOOKUP_TABLE_PROCESS_H_
