// For tests: a client session that talks to a scripted server until nobody has
// anything to say, and what became of it.
#ifndef HOLDFAST_PROTOCOL_SMTP_CLIENT_DIALOGUE_H_
#define HOLDFAST_PROTOCOL_SMTP_CLIENT_DIALOGUE_H_

#include <deque>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "protocol/scripted_smtp_server.h"
#include "protocol/smtp_client_session.h"

namespace holdfast {

inline SmtpTransaction MessageTo(std::vector<std::string> paths) {
  SmtpTransaction t;
  t.sender = "from@a.test";
  t.wire_bytes = 10;
  for (std::string& path : paths)
    t.recipients.push_back({std::move(path), 0, ""});
  return t;
}

// A session against a scripted server, with a list of messages to send.
class SmtpClientDialogue : public SmtpClientSession::Events {
 public:
  explicit SmtpClientDialogue(SmtpClientSession::Options options = {
                                  "me.test"}) {
    session = std::make_unique<SmtpClientSession>(options, this);
  }

  // Until nobody has anything to say.  `piece`: bytes of the server given at
  // once.
  void Run(size_t piece = 1 << 20) {
    Give(server.Open(), piece);
    Go(piece);
  }
  void Go(size_t piece = 1 << 20) {
    while (!session->over()) {
      if (session->output().empty()) {
        if (server.closed()) session->ConnectionLost("closed");
        break;
      }
      const std::string sent(session->output());
      session->OutputTaken();
      writes.push_back(sent);
      Give(server.Receive(sent), piece);
    }
  }
  void Timeout() { session->ConnectionLost("Connection timeout"); }

  // "Ok 250 2.0.0 queued", one for each recipient of each message begun.
  std::vector<std::string> results;
  std::vector<std::string> writes;
  std::string end = "(not over)";
  std::deque<SmtpTransaction> to_send;
  std::string body = "Subject: x\n\n.dot\n";
  bool quit_at_end = true;
  ScriptedSmtpServer server;
  std::unique_ptr<SmtpClientSession> session;

  void OnReady() override {
    while (!to_send.empty()) {
      SmtpTransaction next = to_send.front();
      to_send.pop_front();
      first_ = results.size();
      results.resize(first_ + next.recipients.size());
      if (session->Begin(std::move(next))) return;
    }
    if (quit_at_end) session->Quit();
  }
  void OnResult(size_t recipient, const SmtpResult& r) override {
    static const char* const kNames[] = {"Ok", "Temp", "Perm", "NotTried"};
    std::string& result = results.at(first_ + recipient);
    EXPECT_EQ(result, "") << "told twice";
    result = absl::StrCat(kNames[int(r.kind)], " ", r.text);
    last = r;
  }
  void OnBodyWanted() override {
    for (size_t i = 0; i < body.size(); i += body_piece)
      session->AppendBody(absl::string_view(body).substr(i, body_piece));
    if (finish) session->FinishBody();
  }
  void OnEnd(const std::string& error) override {
    EXPECT_EQ(end, "(not over)") << "ended twice";
    end = error;
  }
  void OnStartTls() override {
    ++handshakes;
    if (!tls_works) return session->ConnectionLost("IO Error: handshake");
    server.StartTls();
    session->TlsEstablished(tls_verifies);
  }
  void OnAuthWanted() override { session->Authenticate(credentials); }

  int handshakes = 0;
  bool tls_works = true, tls_verifies = true;
  ClientCredentials credentials = {"user", "pencil"};
  bool finish = true;
  size_t body_piece = 1 << 20;
  SmtpResult last;

 private:
  void Give(const std::string& bytes, size_t piece) {
    for (size_t i = 0; i < bytes.size(); i += piece)
      session->Receive(absl::string_view(bytes).substr(i, piece));
  }
  size_t first_ = 0;
};

}  // namespace holdfast

#endif  // HOLDFAST_PROTOCOL_SMTP_CLIENT_DIALOGUE_H_
