#include "server/agent/agent_arguments.h"

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"

namespace holdfast {
namespace {

absl::StatusOr<uint32_t> Number(absl::string_view text) {
  uint32_t n = 0;
  // The last one means "no change" to the system calls.
  if (!absl::SimpleAtoi(text, &n) || n == UINT32_MAX)
    return absl::InvalidArgumentError(absl::StrCat("not an id: ", text));
  return n;
}

// True: it is a limit, and `*status` says whether a good one.
bool SetLimit(absl::string_view name, absl::string_view value,
              AgentArguments* out, absl::Status* status) {
  bool good = false;
  if (name == "--memory") {
    good = absl::SimpleAtoi(value, &out->memory);
  } else if (name == "--descriptors") {
    good = absl::SimpleAtoi(value, &out->descriptors);
  } else if (name == "--seconds") {
    good = absl::SimpleAtoi(value, &out->seconds);
  } else {
    return false;
  }
  if (!good) {
    *status = absl::InvalidArgumentError(absl::StrCat("not a limit: ", value));
  }
  return true;
}

absl::Status Set(absl::string_view name, absl::string_view value,
                 AgentArguments* out) {
  const std::string text(value);
  absl::Status limit;
  if (SetLimit(name, value, out, &limit)) return limit;
  if (name == "--user") {
    out->user = text;
  } else if (name == "--mail-dir") {
    out->mail_dir = text;
  } else if (name == "--command") {
    out->command = text;
  } else if (name == "--wrapper") {
    out->wrapper = text;
  } else if (name == "--delimiter" && text.size() == 1) {
    out->delimiter = text[0];
  } else if (name == "--mailbox-user") {
    out->mailbox_user = text;
  } else if (name == "--mailbox-home") {
    out->mailbox_home = text;
  } else if (name == "--home") {
    if (!out->known) out->known.emplace();
    out->known->home = text;
  } else {
    absl::StatusOr<uint32_t> id = Number(value);
    if (!id.ok()) return id.status();
    if (name == "--exec-uid") {
      out->exec_uid = *id;
      return absl::OkStatus();
    }
    if (!out->known) out->known.emplace();
    if (name == "--uid") {
      out->known->uid = *id;
    } else if (name == "--gid") {
      out->known->gid = *id;
    } else {
      return absl::InvalidArgumentError(absl::StrCat("unknown: ", name));
    }
  }
  return absl::OkStatus();
}

}  // namespace

std::vector<std::string> ToArguments(const AgentArguments& a) {
  std::vector<std::string> out;
  if (a.privileged) out.push_back("--privileged");
  if (a.mbox) out.push_back("--mbox");
  if (!a.user.empty()) out.push_back(absl::StrCat("--user=", a.user));
  if (a.mail_dir != kDefaultMailDir)
    out.push_back(absl::StrCat("--mail-dir=", a.mail_dir));
  if (a.known) {
    out.push_back(absl::StrCat("--uid=", a.known->uid));
    out.push_back(absl::StrCat("--gid=", a.known->gid));
    out.push_back(absl::StrCat("--home=", a.known->home));
  }
  if (!a.mailbox_user.empty())
    out.push_back(absl::StrCat("--mailbox-user=", a.mailbox_user));
  if (a.mailbox_home)
    out.push_back(absl::StrCat("--mailbox-home=", *a.mailbox_home));
  if (a.commands) out.push_back("--commands");
  if (!a.command.empty()) out.push_back(absl::StrCat("--command=", a.command));
  if (a.helper) out.push_back("--helper");
  if (!a.wrapper.empty()) out.push_back(absl::StrCat("--wrapper=", a.wrapper));
  if (a.memory != 0) out.push_back(absl::StrCat("--memory=", a.memory));
  if (a.descriptors != 0)
    out.push_back(absl::StrCat("--descriptors=", a.descriptors));
  if (a.seconds != 0) out.push_back(absl::StrCat("--seconds=", a.seconds));
  if (a.delimiter != '+')
    out.push_back(absl::StrCat("--delimiter=", std::string(1, a.delimiter)));
  if (a.exec_uid) {
    out.push_back(absl::StrCat("--exec-uid=", *a.exec_uid));
    out.push_back("--");
    out.insert(out.end(), a.exec.begin(), a.exec.end());
  }
  return out;
}

absl::StatusOr<AgentArguments> ParseAgentArguments(
    const std::vector<std::string>& arguments) {
  AgentArguments out;
  for (size_t i = 0; i < arguments.size(); ++i) {
    const absl::string_view argument = arguments[i];
    if (argument == "--") {
      out.exec.assign(arguments.begin() + static_cast<ptrdiff_t>(i) + 1,
                      arguments.end());
      break;
    }
    if (argument == "--privileged") {
      out.privileged = true;
    } else if (argument == "--mbox") {
      out.mbox = true;
    } else if (argument == "--commands") {
      out.commands = true;
    } else if (argument == "--helper") {
      out.helper = true;
    } else {
      const size_t equals = argument.find('=');
      if (equals == absl::string_view::npos)
        return absl::InvalidArgumentError(absl::StrCat("unknown: ", argument));
      absl::Status set =
          Set(argument.substr(0, equals), argument.substr(equals + 1), &out);
      if (!set.ok()) return set;
    }
  }
  if (out.exec_uid ? out.exec.empty() : out.user.empty())
    return absl::InvalidArgumentError("nothing to do");
  return out;
}

}  // namespace holdfast
