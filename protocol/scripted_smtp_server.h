// For tests: the other side of a client session.  It says yes to everything
// but what it was told to answer otherwise.
#ifndef HOLDFAST_PROTOCOL_SCRIPTED_SMTP_SERVER_H_
#define HOLDFAST_PROTOCOL_SCRIPTED_SMTP_SERVER_H_

#include <deque>
#include <map>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"

namespace holdfast {

class ScriptedSmtpServer {
 public:
  // Instead of a reply.
  static constexpr char kClose[] = "(close)";
  static constexpr char kSilence[] = "(silence)";

  struct Message {
    std::string sender;                   // the whole MAIL command
    std::vector<std::string> recipients;  // accepted; whole RCPT commands
    // As on the wire, without the dot and without the lines of BDAT.
    std::string text;
    std::vector<size_t> chunks;  // sizes of its BDATs
  };

  // Behind the greeting line of EHLO.
  std::vector<std::string> extensions = {"PIPELINING", "8BITMIME", "DSN"};
  // If set: what is offered after STARTTLS.
  std::vector<std::string> extensions_in_tls;
  // What to answer to the first, second, ... of a kind; after those: yes.
  // Kinds: "banner", "EHLO", "LHLO", "HELO", "MAIL", "RCPT", "DATA", "dot",
  // "RSET", "QUIT", "BDAT" (the last, too), "STARTTLS", "EHLO/TLS" (after it),
  // "AUTH", "SASL" (a line behind a 334), and "RCPT TO:<a@b>" for one
  // recipient.  Replies may have several lines, and need no line end.
  std::map<std::string, std::deque<std::string>> answers;
  // If set: answered as soon as the first line of a message is in.
  std::string early_answer;

  // The greeting.
  std::string Open();
  // The connection is inside TLS now.
  void StartTls() {
    tls_ = true;
    if (!extensions_in_tls.empty()) extensions = extensions_in_tls;
  }
  // Takes what the client sent; gives what the server says to it.
  std::string Receive(absl::string_view bytes);

  bool closed() const { return closed_; }
  const std::vector<std::string>& commands() const { return commands_; }
  const std::vector<Message>& messages() const { return messages_; }
  int open_messages() const { return data_ ? 1 : 0; }

 private:
  void Say(const std::string& kind, const std::string& yes);
  void Command(const std::string& line);
  void DataLine(const std::string& line);
  bool Chunk();

  std::string in_, out_;
  bool closed_ = false, silent_ = false, data_ = false, tls_ = false;
  size_t chunk_left_ = 0;  // of a BDAT
  bool in_chunk_ = false, last_chunk_ = false;
  std::string last_said_;
  std::vector<std::string> commands_;
  Message message_;
  std::vector<Message> messages_;
};

}  // namespace holdfast

#endif  // HOLDFAST_PROTOCOL_SCRIPTED_SMTP_SERVER_H_
