#include "server/auth/password_check.h"

#include <errno.h>
#include <pwd.h>
#include <security/pam_appl.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <vector>

#include "protocol/secret.h"
#include "server/auth/crypt_password.h"

namespace holdfast {
namespace {

using Result = PasswordAnswer::Result;

constexpr char kService[] = "smtpd";
constexpr char kServiceFile[] = "/etc/pam.d/smtpd";
constexpr size_t kMaxAccountName = 255;
constexpr size_t kMaxEntryBytes = 1 << 20;
constexpr time_t kSecondsOfDay = 86400;

// ---- PAM

void FreeReplies(pam_response* replies, int count) {
  for (int i = 0; i < count; ++i) {
    if (replies[i].resp == nullptr) continue;
    explicit_bzero(replies[i].resp, strlen(replies[i].resp));
    free(replies[i].resp);
  }
  free(replies);
}

// What a module wants to know: the password, whatever it calls it.  What it
// wants to say goes nowhere.
int Converse(int count, const pam_message** messages, pam_response** out,
             void* data) {
  const auto* question = static_cast<const PasswordQuestion*>(data);
  if (count <= 0 || count > PAM_MAX_NUM_MSG) return PAM_CONV_ERR;
  auto* replies = static_cast<pam_response*>(
      calloc(static_cast<size_t>(count), sizeof(pam_response)));
  if (replies == nullptr) return PAM_BUF_ERR;
  for (int i = 0; i < count; ++i) {
    const std::string* answer = nullptr;
    switch (messages[i]->msg_style) {
      case PAM_PROMPT_ECHO_OFF:
        answer = &question->password;
        break;
      case PAM_PROMPT_ECHO_ON:
        answer = &question->name;
        break;
      default:
        continue;
    }
    replies[i].resp = strdup(answer->c_str());
    if (replies[i].resp == nullptr) {
      FreeReplies(replies, count);
      return PAM_BUF_ERR;
    }
  }
  *out = replies;
  return PAM_SUCCESS;
}

// Failures are slowed by who asks, who also knows the source; a module that
// sleeps would only keep this process from answering others.
void NoDelay(int, unsigned, void*) {}

// The reference's: system, abort and "no access to the data" are temporary.
Result ResultOf(int pam) {
  switch (pam) {
    case PAM_SUCCESS:
      return Result::kOk;
    case PAM_SYSTEM_ERR:
    case PAM_ABORT:
    case PAM_AUTHINFO_UNAVAIL:
    case PAM_SERVICE_ERR:
    case PAM_BUF_ERR:
    case PAM_OPEN_ERR:
    case PAM_SYMBOL_ERR:
      return Result::kError;
    default:
      return Result::kWrong;
  }
}

int AskPam(pam_handle_t* pam, const PasswordQuestion& question) {
  int status = PAM_SUCCESS;
  if (!question.address.empty()) {
    status = pam_set_item(pam, PAM_RHOST, question.address.c_str());
    if (status != PAM_SUCCESS) return status;
  }
  void (*no_delay)(int, unsigned, void*) = NoDelay;
  status = pam_set_item(pam, PAM_FAIL_DELAY,
                        reinterpret_cast<const void*>(no_delay));
  if (status != PAM_SUCCESS) return status;
  status = pam_authenticate(pam, PAM_SILENT | PAM_DISALLOW_NULL_AUTHTOK);
  if (status != PAM_SUCCESS) return status;
  return pam_acct_mgmt(pam, PAM_SILENT | PAM_DISALLOW_NULL_AUTHTOK);
}

// ---- shadow

enum class Found { kYes, kNo, kError };

// Calls getspnam_r or getpwnam_r with more and more room.
template <class Entry, class Get>
Found FindEntry(Get get, const std::string& name, Entry* entry,
                std::vector<char>* room) {
  for (room->resize(1024);; room->resize(room->size() * 2)) {
    Entry* found = nullptr;
    const int error =
        get(name.c_str(), entry, room->data(), room->size(), &found);
    if (found != nullptr) return Found::kYes;
    if (error == EINTR) continue;
    if (error != ERANGE) {
      const bool absent = error == 0 || error == ENOENT || error == ESRCH;
      return absent ? Found::kNo : Found::kError;
    }
    if (room->size() >= kMaxEntryBytes) return Found::kError;
  }
}

// What those without an account are compared with, so that their answer takes
// as long: the first hash of the shadow file.
const std::string& StandIn() {
  static const std::string* const hash = [] {
    auto* text = new std::string;
    setspent();
    while (const spwd* entry = getspent()) {
      if (entry->sp_pwdp == nullptr || !IsCryptHash(entry->sp_pwdp)) continue;
      *text = entry->sp_pwdp;
      break;
    }
    endspent();
    if (text->empty()) *text = PreferredCryptSetting();
    return text;
  }();
  return *hash;
}

struct Account {
  bool open = false;
  std::string hash;
};

Result FindAccount(const std::string& name, Account* account) {
  std::vector<char> room;
  spwd shadow = {};
  const Found in_shadow = FindEntry(getspnam_r, name, &shadow, &room);
  if (in_shadow == Found::kYes) {
    account->open = IsAccountOpen(shadow, time(nullptr) / kSecondsOfDay);
    account->hash = shadow.sp_pwdp == nullptr ? "" : shadow.sp_pwdp;
  }
  explicit_bzero(room.data(), room.size());
  if (in_shadow == Found::kYes) return Result::kOk;
  passwd user = {};
  const Found in_passwd = FindEntry(getpwnam_r, name, &user, &room);
  if (in_passwd == Found::kYes && user.pw_passwd != nullptr &&
      IsCryptHash(user.pw_passwd)) {
    account->open = true;
    account->hash = user.pw_passwd;
  }
  explicit_bzero(room.data(), room.size());
  const bool broken = in_passwd == Found::kError ||
                      (in_shadow == Found::kError && account->hash.empty());
  return broken ? Result::kError : Result::kOk;
}

}  // namespace

bool IsPossibleAccount(const PasswordQuestion& question) {
  const std::string& name = question.name;
  const std::string& password = question.password;
  if (name.empty() || name.size() > kMaxAccountName || password.empty() ||
      password.size() > kMaxPasswordBytes ||
      password.find('\0') != std::string::npos ||
      question.address.find('\0') != std::string::npos) {
    return false;
  }
  for (const char c : name) {
    const unsigned char u = static_cast<unsigned char>(c);
    if (u < 0x20 || u == 0x7f || u == '/') return false;
  }
  return name[0] != '-' && name[0] != '.';
}

bool IsAccountOpen(const spwd& entry, long today) {
  if (entry.sp_expire > 0 && today >= entry.sp_expire) return false;
  // 0: the password must be changed now.
  if (entry.sp_lstchg == 0) return false;
  if (entry.sp_lstchg < 0 || entry.sp_max < 0) return true;
  return today <= entry.sp_lstchg + entry.sp_max;
}

Result CheckByPam(const PasswordQuestion& question) {
  PasswordQuestion asked = question;
  const pam_conv conversation = {Converse, &asked};
  pam_handle_t* pam = nullptr;
  int status = pam_start(kService, question.name.c_str(), &conversation, &pam);
  if (status == PAM_SUCCESS) {
    status = AskPam(pam, question);
    pam_end(pam, status | PAM_DATA_SILENT);
  }
  Wipe(&asked.password);
  return ResultOf(status);
}

Result CheckByShadow(const PasswordQuestion& question) {
  Account account;
  const Result asked = FindAccount(question.name, &account);
  if (asked != Result::kOk) return asked;
  const bool usable = account.open && IsCryptHash(account.hash);
  const bool fits =
      CryptPasswordFits(question.password, usable ? account.hash : StandIn());
  Wipe(&account.hash);
  return usable && fits ? Result::kOk : Result::kWrong;
}

PasswordAnswer AnswerPassword(const PasswordQuestion& question) {
  PasswordAnswer answer;
  answer.question = question.question;
  if (!IsPossibleAccount(question)) {
    answer.result = Result::kWrong;
  } else if (access(kServiceFile, F_OK) == 0) {
    answer.result = CheckByPam(question);
  } else {
    answer.result = CheckByShadow(question);
  }
  return answer;
}

}  // namespace holdfast
