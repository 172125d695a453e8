// What a milter says, whole or byte by byte, at any point of a session: the
// same is heard, nothing is heard behind its end, what it makes of a header
// stays a header.
#include <cstdint>
#include <string>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "protocol/milter_header.h"
#include "protocol/milter_session.h"

namespace holdfast {
namespace {

class Listener : public MilterSession::Events {
 public:
  void OnReady() override { Hear("ready"); }
  void OnAnswer(MilterAnswer answer) override {
    Hear(absl::StrCat("answer ", int(answer.kind), answer.text));
    const bool refused = answer.kind == MilterAnswer::Kind::kReject ||
                         answer.kind == MilterAnswer::Kind::kTempFail ||
                         answer.kind == MilterAnswer::Kind::kDisconnect;
    if (refused != (answer.text.size() > 3)) __builtin_trap();
  }
  void OnChange(MilterChange change) override {
    Hear(absl::StrCat("change ", int(change.kind), change.name, change.value));
    (void)header.Apply(change, true);
  }
  void OnProgress() override { Hear("progress"); }
  void OnBroken(const std::string& why) override {
    Hear(why);
    broken = true;
  }
  void Hear(const std::string& what) {
    if (broken) __builtin_trap();
    absl::StrAppend(&heard, what, "\n");
  }

  std::string heard;
  bool broken = false;
  MilterHeader header{""};
};

// Says the next thing of a message whenever nothing is open.
void Go(MilterSession* session, int* step) {
  while (session->ready() && *step < 100) {
    session->OutputTaken();
    switch ((*step)++ % 9) {
      case 0:
        (void)session->Connect("h", '4', 1, "192.0.2.1");
        break;
      case 1:
        (void)session->Helo("h");
        break;
      case 2:
        (void)session->Mail("<a@b>", {"X"});
        break;
      case 3:
        (void)session->Rcpt("<a@b>", {});
        break;
      case 4:
        (void)session->Data();
        break;
      case 5:
        (void)session->Header("A", " b");
        break;
      case 6:
        (void)session->EndOfHeaders();
        break;
      case 7:
        (void)session->Body("x");
        break;
      default:
        (void)session->EndOfMessage();
        break;
    }
  }
}

std::string Heard(absl::string_view wire) {
  Listener listener;
  absl::string_view text = "A: 1\nB: 2\n\n";
  listener.header.Feed(&text);
  MilterSession session(&listener);
  int step = 0;
  for (const char& c : wire) {
    session.Receive(absl::string_view(&c, 1));
    Go(&session, &step);
  }
  // One empty line, at the end.
  const std::string made = listener.header.Text();
  if (made.find("\n\n") != made.size() - 2) {
    if (made != "\n") __builtin_trap();
  }
  MilterHeader again("");
  text = made;
  if (made.size() < kMaxMilterHeaderBytes &&
      again.Feed(&text) == MilterHeader::State::kMore)
    __builtin_trap();
  return listener.heard;
}

}  // namespace
}  // namespace holdfast

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const absl::string_view wire(reinterpret_cast<const char*>(data), size);
  const std::string heard = holdfast::Heard(wire);
  // Behind an agreement on everything it gets further.
  (void)holdfast::Heard(absl::StrCat(
      absl::string_view("\0\0\0\rO\0\0\0\6\0\0\1\xff\0\0\4\0", 17), wire));
  // At once, the first answer is the same.
  holdfast::Listener listener;
  holdfast::MilterSession session(&listener);
  session.Receive(wire);
  if (!listener.heard.empty() && !listener.broken &&
      !absl::StartsWith(heard, "ready\n"))
    __builtin_trap();
  return 0;
}
