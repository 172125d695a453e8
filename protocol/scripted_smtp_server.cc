#include "protocol/scripted_smtp_server.h"

#include <algorithm>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_split.h"

namespace holdfast {

std::string ScriptedSmtpServer::Open() {
  Say("banner", "220 ready");
  return std::exchange(out_, {});
}

std::string ScriptedSmtpServer::Receive(absl::string_view bytes) {
  in_.append(bytes.data(), bytes.size());
  size_t end;
  while (!closed_) {
    if (in_chunk_ && !Chunk()) break;
    if ((end = in_.find("\r\n")) == std::string::npos) break;
    const std::string line = in_.substr(0, end);
    in_.erase(0, end + 2);
    if (data_)
      DataLine(line);
    else
      Command(line);
  }
  return std::exchange(out_, {});
}

void ScriptedSmtpServer::Say(const std::string& kind, const std::string& yes) {
  last_said_ = yes;
  auto it = answers.find(kind);
  if (it != answers.end() && !it->second.empty()) {
    last_said_ = it->second.front();
    it->second.pop_front();
  }
  if (last_said_ == kSilence) silent_ = true;
  if (last_said_ == kClose) closed_ = true;
  if (silent_ || closed_) return;
  out_ += last_said_ + "\r\n";
}

void ScriptedSmtpServer::Command(const std::string& line) {
  commands_.push_back(line);
  std::string verb = line.substr(0, 4);
  if (absl::StartsWith(last_said_, "334")) verb = "SASL";
  if (verb == "STAR") verb = "STARTTLS";
  std::string yes = "250 2.0.0 ok";
  if (verb == "EHLO" || verb == "LHLO") {
    yes = extensions.empty() ? "250 me" : "250-me";
    for (size_t i = 0; i < extensions.size(); ++i)
      yes +=
          (i + 1 < extensions.size() ? "\r\n250-" : "\r\n250 ") + extensions[i];
  }
  if (verb == "BDAT") {
    const std::vector<std::string> words = absl::StrSplit(line, ' ');
    in_chunk_ = absl::SimpleAtoi(words.at(1), &chunk_left_);
    last_chunk_ = words.size() == 3 && words[2] == "LAST";
    message_.chunks.push_back(chunk_left_);
    return;
  }
  if (verb == "RCPT" && message_.sender.empty()) yes = "503 no";
  if (verb == "DATA") yes = message_.recipients.empty() ? "503 no" : "354 go";
  if (verb == "QUIT") yes = "221 bye";
  if (verb == "STARTTLS") yes = "220 go";
  if (verb == "AUTH" || verb == "SASL") yes = "235 2.7.0 welcome";
  if (verb == "EHLO" && tls_) verb = "EHLO/TLS";
  const std::string path = line.substr(0, line.find('>') + 1);
  Say(answers.count(path) > 0 ? path : verb, yes);
  const bool accepted = absl::StartsWith(last_said_, "2");
  if (verb == "MAIL" && accepted) message_ = {line, {}, "", {}};
  if (verb == "RSET") message_ = {};
  if (verb == "RCPT" && accepted) message_.recipients.push_back(line);
  if (verb == "DATA" && absl::StartsWith(last_said_, "3")) data_ = true;
  if (verb == "QUIT") closed_ = true;
}

// False: more of it is to come.
bool ScriptedSmtpServer::Chunk() {
  const size_t n = std::min(chunk_left_, in_.size());
  message_.text += in_.substr(0, n);
  in_.erase(0, n);
  chunk_left_ -= n;
  if (chunk_left_ > 0) return false;
  in_chunk_ = false;
  Say("BDAT", message_.recipients.empty() ? "503 no" : "250 2.0.0 queued");
  const bool good = absl::StartsWith(last_said_, "2");
  if (!last_chunk_ && good) return true;
  Message done = std::exchange(message_, {});
  if (good) messages_.push_back(std::move(done));
  return true;
}

void ScriptedSmtpServer::DataLine(const std::string& line) {
  if (line != ".") {
    message_.text += line + "\r\n";
    if (!early_answer.empty()) out_ += std::exchange(early_answer, {}) + "\r\n";
    return;
  }
  data_ = false;
  commands_.push_back(".");
  Say("dot", "250 2.0.0 queued");
  Message done = std::exchange(message_, {});
  if (absl::StartsWith(last_said_, "2")) messages_.push_back(std::move(done));
}

}  // namespace holdfast
