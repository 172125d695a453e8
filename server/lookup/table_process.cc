#include "server/lookup/table_process.h"

#include <string.h>

#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "protocol/secret.h"
#include "protocol/vis.h"
#include "server/log/log.h"

namespace holdfast {
namespace {

// As filters are told.
constexpr char kServerVersion[] = "7.8.0-portable";
// A program registers each service once; a few more are no matter.
constexpr size_t kMaxRegistrations = 64;

TableResult Value(const TableReply& reply) {
  if (reply.result == TableReply::Result::kNotFound)
    return std::optional<std::string>();
  return std::optional<std::string>(reply.text);
}

}  // namespace

TableProcess::TableProcess(Setup setup)
    : setup_(std::move(setup)), kept_(setup_.care.keep) {}

TableProcess::~TableProcess() {
  Wipe(&input_);
  for (auto& [number, request] : requests_) Wipe(&request.query.key);
}

// ---- the program's life

void TableProcess::OnStarted(uint64_t number, std::unique_ptr<Stream> stream) {
  Lose();
  number_ = number;
  stream_ = std::move(stream);
  state_ = State::kGreeting;
  services_.clear();
  late_.clear();
  Stream::Callbacks callbacks;
  callbacks.on_bytes = [this](absl::string_view bytes) { OnBytes(bytes); };
  // Parent says how it ended; one that has only closed its output is of no use.
  callbacks.on_closed = [this](absl::Status) {
    Lose();
    setup_.kill(number_);
  };
  stream_->SetCallbacks(std::move(callbacks));
  const absl::StatusOr<std::string> greeting =
      TableGreeting(kServerVersion, setup_.name);
  if (!greeting.ok()) return Break(std::string(greeting.status().message()));
  stream_->Write(*greeting);
  stream_->ResumeReading();
  greeting_ = setup_.loop->RunAfter(kTableGreetingTimeout, [this] {
    Break("it does not say what it offers");
  });
}

void TableProcess::OnEnded(uint64_t number) {
  if (number == number_) Lose();
}

void TableProcess::Lose() {
  stream_.reset();
  greeting_.reset();
  Wipe(&input_);
  state_ = State::kDown;
  std::deque<uint64_t> again;
  std::vector<uint64_t> over;
  for (const auto& [id, number] : std::exchange(sent_, {})) {
    Request& request = requests_.at(number);
    request.id.clear();
    if (std::exchange(request.sent_before, true)) {
      over.push_back(number);  // two have died of it
    } else {
      again.push_back(number);
    }
  }
  waiting_.insert(waiting_.begin(), again.begin(), again.end());
  for (const uint64_t number : over)
    Fail(requests_.find(number), absl::UnavailableError("the program is gone"));
  for (const uint64_t number : std::deque<uint64_t>(waiting_)) {
    if (!Waits(number)) continue;
    const auto request = requests_.find(number);
    if (kept_.Get(request->second.query, setup_.loop->Elapsed()) != nullptr)
      Fail(request, absl::UnavailableError("the program is gone"));
  }
}

void TableProcess::Break(const std::string& why) {
  WarnLine(absl::StrCat("warn: table-proc: ", VisEncode(setup_.name),
                        " failed: ", why, ": it is killed"));
  Lose();
  state_ = State::kBroken;
  setup_.kill(number_);
}

// ---- what it says

void TableProcess::OnBytes(absl::string_view bytes) {
  heard_ = setup_.loop->Elapsed();
  input_.append(bytes.data(), bytes.size());
  std::string input = std::exchange(input_, "");
  absl::string_view rest = input;
  size_t end;
  while (stream_ != nullptr &&
         (end = rest.find('\n')) != absl::string_view::npos) {
    OnLine(rest.substr(0, end));
    rest.remove_prefix(end + 1);
  }
  if (stream_ != nullptr) {
    input_ = std::string(rest);
    if (input_.size() > kMaxTableLine) Break("line too long");
  }
  Wipe(&input);
  SendWaiting();
}

void TableProcess::OnLine(absl::string_view line) {
  if (state_ == State::kGreeting) return OnRegistration(line);
  OnReply(line);
}

void TableProcess::OnRegistration(absl::string_view line) {
  const absl::StatusOr<std::string> service = ParseTableRegistration(line);
  if (!service.ok()) return Break(std::string(service.status().message()));
  if (*service != "ready") {
    services_.insert(*service);
    return;
  }
  if (services_.empty()) return Break("it offers nothing");
  greeting_.reset();
  state_ = State::kReady;
}

void TableProcess::OnReply(absl::string_view line) {
  absl::StatusOr<TableReply> reply = ParseTableReply(line);
  if (!reply.ok())
    return Break(absl::StrCat("failed to parse reply: ",
                              std::string(reply.status().message())));
  const auto sent = sent_.find(reply->id);
  if (sent == sent_.end()) {
    Wipe(&reply->text);
    if (late_.erase(reply->id) == 0) Break("answers what it was not asked");
    return;
  }
  const auto request = requests_.find(sent->second);
  if (request->second.query.op != reply->op) {
    Wipe(&reply->text);
    return Break("answers something else than it was asked");
  }
  sent_.erase(sent);
  request->second.id.clear();
  if (reply->result == TableReply::Result::kError) {
    return Fail(request, absl::UnavailableError(
                             reply->text.empty() ? "error" : reply->text));
  }
  TableResult result = Value(*reply);
  Wipe(&reply->text);
  if (request->second.query.op == TableOp::kUpdate) kept_.Clear();
  kept_.Put(request->second.query, *result, setup_.loop->Elapsed());
  NoteAnswers();
  Answer(request, std::move(result));
}

// ---- questions

void TableProcess::Ask(TableQuery query, Done done) {
  const uint64_t number = ++last_request_;
  Request& request = requests_[number];
  request.query = std::move(query);
  request.done = std::move(done);
  request.asked_at = setup_.loop->Elapsed();
  if (requests_.size() > kMaxOpenTableQuestions) {
    return Fail(requests_.find(number),
                absl::ResourceExhaustedError("too many questions are open"));
  }
  const bool running = state_ == State::kReady || state_ == State::kGreeting;
  if (!running && kept_.Get(request.query, setup_.loop->Elapsed()) != nullptr) {
    return Fail(requests_.find(number),
                absl::UnavailableError("the program is gone"));
  }
  request.timer = setup_.loop->RunAfter(setup_.care.timeout,
                                        [this, number] { OnTimeout(number); });
  waiting_.push_back(number);
  SendWaiting();
}

void TableProcess::SendWaiting() {
  while (state_ == State::kReady && !waiting_.empty() &&
         Owed() < kMaxSentTableQuestions) {
    const uint64_t number = waiting_.front();
    waiting_.pop_front();
    if (Waits(number)) Send(number);
  }
}

bool TableProcess::Waits(uint64_t number) const {
  const auto request = requests_.find(number);
  return request != requests_.end() && !request->second.over;
}

void TableProcess::Send(uint64_t number) {
  const RequestRef at = requests_.find(number);
  Request& request = at->second;
  const std::string service(TableServiceName(request.query.service));
  if (request.query.op != TableOp::kUpdate && services_.count(service) == 0) {
    return Fail(at, absl::UnimplementedError(
                        absl::StrCat("it does not offer ", service)));
  }
  TableRequest asked;
  asked.table = setup_.name;
  asked.op = request.query.op;
  asked.service = service;
  asked.id = NewId();
  asked.key = request.query.key;
  const absl::Duration now = setup_.loop->Elapsed();
  absl::StatusOr<std::string> line =
      TableRequestLine(asked, setup_.loop->Now() - (now - request.asked_at));
  Wipe(&asked.key);
  if (!line.ok()) return Fail(at, line.status());
  request.id = asked.id;
  if (Owed() == 0) heard_ = now;
  sent_.emplace(asked.id, number);
  stream_->Write(*line);
  Wipe(&*line);
}

std::string TableProcess::NewId() {
  std::string id;
  do {
    id = absl::StrFormat("%08x", setup_.random());
  } while (sent_.count(id) != 0 || late_.count(id) != 0);
  return id;
}

bool TableProcess::Hangs() const {
  return state_ == State::kReady && Owed() > 0 &&
         setup_.loop->Elapsed() - heard_ >= setup_.care.timeout;
}

void TableProcess::OnTimeout(uint64_t number) {
  const RequestRef at = requests_.find(number);
  Request& request = at->second;
  if (!request.id.empty()) {
    // It owes the answer still.
    sent_.erase(request.id);
    late_.insert(std::exchange(request.id, ""));
    Fail(at,
         absl::DeadlineExceededError(absl::StrCat(
             "no answer within ", absl::FormatDuration(setup_.care.timeout))));
  } else {
    Fail(at, absl::DeadlineExceededError(state_ == State::kReady
                                             ? "it is too busy"
                                             : "the program is not ready"));
    // What waits is ended in the order in which it came.
    while (!waiting_.empty() && !Waits(waiting_.front())) waiting_.pop_front();
  }
  if (Hangs()) Break("it does not answer");
}

void TableProcess::Fail(RequestRef at, absl::Status why) {
  Request& request = at->second;
  if (!absl::IsUnimplemented(why) ||
      request.query.service != TableService::kAuth)
    Warn(request.query, why.message());
  const auto* kept = absl::IsUnimplemented(why) || absl::IsInvalidArgument(why)
                         ? nullptr
                         : kept_.Get(request.query, setup_.loop->Elapsed());
  if (kept == nullptr) return AnswerLater(&request, at->first, std::move(why));
  if (!std::exchange(uses_kept_, true)) {
    LogInfo(
        "info: table-proc: %s does not answer: what it said in the last %s "
        "is used",
        VisEncode(setup_.name), absl::FormatDuration(setup_.care.keep));
  }
  AnswerLater(&request, at->first, *kept);
}

void TableProcess::NoteAnswers() {
  if (!std::exchange(uses_kept_, false)) return;
  LogInfo("info: table-proc: %s answers again", VisEncode(setup_.name));
}

void TableProcess::AnswerLater(Request* request, uint64_t number,
                               TableResult result) {
  request->over = true;
  request->result = std::move(result);
  request->timer = setup_.loop->RunAfter(absl::ZeroDuration(), [this, number] {
    const RequestRef at = requests_.find(number);
    Answer(at, std::move(at->second.result));
  });
}

void TableProcess::Answer(RequestRef at, TableResult result) {
  Request over = std::move(at->second);
  requests_.erase(at);
  Wipe(&over.query.key);
  over.done(std::move(result));
}

// ---- the log

void TableProcess::Warn(const TableQuery& query, absl::string_view why) {
  WarnLine(absl::StrCat("warn: table-proc: ", VisEncode(setup_.name), " ",
                        TableOpName(query.op), " failed: ", VisEncode(why)));
}

void TableProcess::WarnLine(const std::string& line) {
  const absl::Duration now = setup_.loop->Elapsed();
  if (now >= warnings_until_) {
    if (warnings_ > kMaxTableWarnings) {
      LogWarn("warn: table-proc: %s: %d more failures", VisEncode(setup_.name),
              warnings_ - kMaxTableWarnings);
    }
    warnings_ = 0;
    warnings_until_ = now + absl::Minutes(1);
  }
  if (++warnings_ <= kMaxTableWarnings) LogWarn("%s", line);
}

}  // namespace holdfast
