// For tests: filter processes that a test plays, and sessions that pass them.
#ifndef HOLDFAST_SERVER_FILTERS_FILTER_BED_H_
#define HOLDFAST_SERVER_FILTERS_FILTER_BED_H_

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <map>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "server/door/door.h"
#include "server/door/filter_messages.h"
#include "server/filters/chain_session.h"
#include "server/filters/filter_program.h"
#include "server/filters/process_link.h"
#include "server/loop/fake_event_loop.h"

namespace holdfast {

// The other end of a filter's streams.
class FakeFilter {
 public:
  FakeFilter() {
    std::tie(ours_, theirs_) = Pair();
    std::tie(error_ours_, error_theirs_) = Pair();
  }
  OwnedFd TakeIo() { return std::move(theirs_); }
  OwnedFd TakeError() { return std::move(error_theirs_); }

  void Say(const std::string& line) { Write(ours_.get(), line + "\n"); }
  void SayRaw(const std::string& bytes) { Write(ours_.get(), bytes); }
  void Complain(const std::string& bytes) { Write(error_ours_.get(), bytes); }
  bool CanComplain() {
    return send(error_ours_.get(), "x\n", 2, MSG_NOSIGNAL) == 2;
  }
  void Exit() {
    ours_.Reset();
    error_ours_.Reset();
  }

  // The lines it has been told since the last call.
  std::vector<std::string> Lines() {
    char buffer[65536];
    for (;;) {
      const ssize_t n = read(ours_.get(), buffer, sizeof buffer);
      if (n <= 0) break;
      heard_.append(buffer, static_cast<size_t>(n));
    }
    std::vector<std::string> lines;
    size_t end;
    while ((end = heard_.find('\n')) != std::string::npos) {
      lines.push_back(heard_.substr(0, end));
      heard_.erase(0, end + 1);
    }
    return lines;
  }

 private:
  static std::pair<OwnedFd, OwnedFd> Pair() {
    int fds[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0,
                   fds) < 0)
      abort();
    return {OwnedFd(fds[0]), OwnedFd(fds[1])};
  }
  static void Write(int fd, const std::string& bytes) {
    ASSERT_EQ(send(fd, bytes.data(), bytes.size(), MSG_NOSIGNAL),
              static_cast<ssize_t>(bytes.size()));
  }

  OwnedFd ours_, theirs_, error_ours_, error_theirs_;
  std::string heard_;
};

// The fields of a line of the protocol.
inline std::vector<std::string> Fields(const std::string& line) {
  return absl::StrSplit(line, '|');
}

class FilterBed : public testing::Test {
 protected:
  static constexpr SessionId kSession{0x0123456789abcdef};

  FilterBed() {
    surroundings_.loop = &loop_;
    surroundings_.kill = [this](const std::string& name, uint64_t number) {
      killed_.push_back(absl::StrCat(name, " ", number));
    };
    surroundings_.is_live = [this](SessionId id) {
      return sessions_.count(id) > 0;
    };
    surroundings_.changed = [this] { ++changes_; };
    surroundings_.log = [this](const std::string& line) {
      log_.push_back(line);
    };
    chain_.name = "chain";
    auto [ours, theirs] = MakeDoorPair(&loop_);
    ours_ = std::move(ours);
    theirs_ = std::move(theirs);
    ours_->SetCallbacks([this](Frame& frame) { OnFrame(frame); },
                        [](absl::Status) {});
    theirs_->SetCallbacks([](Frame&) {}, [](absl::Status) {});
  }
  ~FilterBed() override { sessions_.clear(); }

  // A process and a link of it, which become the chain's last.
  FilterProgram* AddProgram(const std::string& name,
                            const FilterCare& care = {},
                            const std::string& protocol = "0.7") {
    Processor& processor = processors_[name];
    processor.name = name;
    processor.care = care;
    FilterGreeting greeting;
    greeting.version = "7.8.0-portable";
    greeting.protocol = *FilterProtocolNamed(protocol);
    greeting.admd = "mx.test";
    programs_[name] =
        std::make_unique<FilterProgram>(&processor, greeting, &surroundings_);
    AddLink(name, name);
    return programs_[name].get();
  }
  void AddLink(const std::string& link, const std::string& program) {
    FilterProgram* const p = programs_.at(program).get();
    links_.push_back(std::make_unique<ProcessLink>(
        link, p, 0x1000 * (links_.size() + 1),
        [this, p](SessionId id, absl::string_view text) {
          const auto found = sessions_.find(id);
          if (found != sessions_.end())
            found->second->OnSays({"proc", p->name()}, text);
        }));
    chain_.links.push_back(links_.back().get());
  }
  FakeFilter* Start(FilterProgram* program) {
    filters_.push_back(std::make_unique<FakeFilter>());
    FakeFilter* const filter = filters_.back().get();
    program->OnStarted(++starts_, filter->TakeIo(), filter->TakeError());
    loop_.RunReady();
    return filter;
  }
  // A process that has registered; `what`: phases and "report EVENT".
  FakeFilter* StartReady(FilterProgram* program,
                         const std::vector<std::string>& what) {
    FakeFilter* const filter = Start(program);
    for (const std::string& one : what) {
      const bool report = one.rfind("report ", 0) == 0;
      filter->Say(report
                      ? absl::StrCat("register|report|smtp-in|", one.substr(7))
                      : absl::StrCat("register|filter|smtp-in|", one));
    }
    filter->Say("register|ready");
    loop_.RunReady();
    filter->Lines();
    return filter;
  }

  ChainSession* Begin(SessionId id = kSession) {
    FilterSession session;
    session.session = id;
    session.filter = "chain";
    session.at = loop_.Now();
    session.rdns = "client.test";
    session.fcrdns = "pass";
    session.source = "192.0.2.1:2525";
    session.destination = "192.0.2.2:25";
    sessions_[id] =
        std::make_unique<ChainSession>(&loop_, &chain_, theirs_.get(), session);
    loop_.RunReady();
    return sessions_[id].get();
  }
  void End(SessionId id = kSession) {
    sessions_.at(id)->OnEnded(loop_.Now());
    sessions_.erase(id);
    loop_.RunReady();
  }
  bool Ask(FilterPhase phase, const std::string& argument = "",
           SessionId id = kSession) {
    FilterQuestion question;
    question.session = id;
    question.question = ++questions_;
    question.at = loop_.Now();
    question.phase = phase;
    question.argument = argument;
    const bool good = sessions_.at(id)->OnQuestion(std::move(question));
    loop_.RunReady();
    return good;
  }
  void Report(FilterEvent event, const std::vector<std::string>& fields,
              SessionId id = kSession) {
    FilterReport report;
    report.session = id;
    report.at = loop_.Now();
    report.event = event;
    report.fields = fields;
    sessions_.at(id)->OnReport(report);
    loop_.RunReady();
  }
  bool Text(const std::string& bytes, bool end = false,
            SessionId id = kSession) {
    const bool good = sessions_.at(id)->OnText(FilterText{id, bytes, end});
    loop_.RunReady();
    return good;
  }
  void Take(size_t bytes, SessionId id = kSession) {
    EXPECT_TRUE(sessions_.at(id)->OnTaken(
        FilterTextTaken{id, static_cast<uint32_t>(bytes)}));
    loop_.RunReady();
  }

  // What became of the last question: "" while it is open, else a letter of
  // the verdict and the text.
  std::string Decision() {
    loop_.RunReady();
    if (decisions_.empty()) return "";
    const FilterDecision last = decisions_.back();
    decisions_.clear();
    EXPECT_EQ(last.question, questions_);
    const std::string word =
        absl::StrCat(std::string(1, "?pjrdwx"[static_cast<int>(last.verdict)]));
    return last.text.empty() ? word : absl::StrCat(word, " ", last.text);
  }
  // Answers the one question of `lines`.
  static std::string AnswerTo(const std::string& line,
                              const std::string& decision) {
    const std::vector<std::string> fields = Fields(line);
    return absl::StrCat("filter-result|", fields.at(5), "|", fields.at(6), "|",
                        decision);
  }
  // Repeats the lines of a message that `filter` has been told; how many.
  size_t Echo(FakeFilter* filter) {
    size_t count = 0;
    std::string said;
    for (const std::string& line : filter->Lines()) {
      const std::vector<std::string> fields = Fields(line);
      if (fields.at(0) != "filter" || fields.at(4) != "data-line") continue;
      const size_t prefix = line.find(fields.at(6)) + fields.at(6).size();
      absl::StrAppend(&said, "filter-dataline|", fields.at(5), "|",
                      fields.at(6), line.substr(prefix), "\n");
      ++count;
    }
    // The kernel takes less than all of it at once.
    for (size_t at = 0; at < said.size(); at += 50000) {
      filter->SayRaw(said.substr(at, 50000));
      loop_.RunReady();
    }
    return count;
  }

  FakeEventLoop loop_;
  ProgramSurroundings surroundings_;
  std::vector<std::string> killed_, log_;
  int changes_ = 0;
  std::map<std::string, Processor> processors_;
  std::map<std::string, std::unique_ptr<FilterProgram>> programs_;
  std::vector<std::unique_ptr<ProcessLink>> links_;
  std::vector<std::unique_ptr<FakeFilter>> filters_;
  uint64_t starts_ = 0, questions_ = 0;
  FilterChain chain_;
  std::unique_ptr<Door> ours_, theirs_;
  std::map<SessionId, std::unique_ptr<ChainSession>> sessions_;

  // What came through the door.
  std::vector<FilterDecision> decisions_;
  std::string text_;  // of all sessions
  int ends_ = 0;
  size_t taken_ = 0;
  std::vector<std::string> dropped_;

 private:
  void OnFrame(Frame& frame) {
    EXPECT_TRUE((Dispatch<FilterDecision, FilterText, FilterTextTaken,
                          FilterTextDropped>(
        frame, [this](auto& message) { On(message); })));
  }
  void On(FilterDecision& m) { decisions_.push_back(m); }
  void On(FilterText& m) {
    text_ += m.bytes;
    if (m.end) ++ends_;
  }
  void On(FilterTextTaken& m) { taken_ += m.bytes; }
  void On(FilterTextDropped& m) { dropped_.push_back(m.reply); }
};

}  // namespace holdfast

#endif  // HOLDFAST_SERVER_FILTERS_FILTER_BED_H_
