#include "ctl/store/spool_import.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <unistd.h>

#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "absl/time/clock.h"
#include "config/values.h"
#include "ctl/control/whole_io.h"
#include "ctl/spool/byte_source.h"
#include "ctl/store/exporter.h"
#include "ctl/store/scratch_file.h"
#include "protocol/vis.h"

namespace holdfast {
namespace {

constexpr size_t kKeyBytes = 32;

absl::Status Wrong(absl::string_view text) {
  return absl::InvalidArgumentError(absl::StrCat("queue import: ", text));
}

absl::Status SetOption(const std::string& name, const std::string& value,
                       bool* from, SpoolRequest* request) {
  if (name == "--action") {
    request->action = value;
  } else if (name == "--key") {
    request->key_file = value;
  } else if (name == "--ttl") {
    const auto ttl = ParseDelay(value);
    if (!ttl) return Wrong("--ttl is a number and one of s, m, h, d");
    request->ttl = *ttl;
  } else if (value == "opensmtpd" || value == "postfix") {
    *from = true;
    request->kind = value == "postfix" ? SpoolRequest::Kind::kPostfix
                                       : SpoolRequest::Kind::kOpensmtpd;
  } else {
    return Wrong("--from opensmtpd or --from postfix");
  }
  return absl::OkStatus();
}

absl::StatusOr<std::string> ReadKey(const std::string& path) {
  if (path.empty()) return std::string();
  const OwnedFd fd(path == "-" ? dup(STDIN_FILENO)
                               : open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd)
    return absl::NotFoundError(absl::StrCat(path, ": ", strerror(errno)));
  FileSource source(fd.get());
  absl::StatusOr<std::string> key = ReadWhole(&source, kKeyBytes + 2);
  if (key.ok() && !key->empty() && key->back() == '\n') key->pop_back();
  if (!key.ok() || key->size() != kKeyBytes)
    return Wrong("the key of queue encryption has 32 characters");
  return key;
}

std::string Hostname() {
  char name[HOST_NAME_MAX + 1] = {};
  gethostname(name, sizeof name - 1);
  return *name == '\0' ? "localhost" : name;
}

absl::Status Archive(SpoolReader* reader, ArchiveWriter* archive) {
  absl::Status status =
      archive->Add(std::string(kAboutName), AboutText(ExportBegin()), false);
  if (status.ok()) status = reader->Run();
  if (!status.ok()) return status;
  const SpoolSummary& summary = reader->summary();
  return archive->Finish(summary.messages, summary.envelopes).status();
}

}  // namespace

absl::StatusOr<std::optional<SpoolRequest>> TakeSpoolRequest(
    std::vector<std::string>* words) {
  SpoolRequest request;
  bool from = false, any = false;
  std::vector<std::string> rest;
  for (size_t i = 0; i < words->size(); ++i) {
    const std::string& word = (*words)[i];
    if (word != "--from" && word != "--action" && word != "--ttl" &&
        word != "--key") {
      rest.push_back(word);
      continue;
    }
    any = true;
    if (++i == words->size()) return Wrong(absl::StrCat(word, " what?"));
    const absl::Status status = SetOption(word, (*words)[i], &from, &request);
    if (!status.ok()) return status;
  }
  if (any && !from) return Wrong("--action, --ttl and --key go with --from");
  if (!any) return std::optional<SpoolRequest>();
  const bool postfix = request.kind == SpoolRequest::Kind::kPostfix;
  if (postfix && request.action.empty())
    return Wrong(
        "mail of Postfix needs --action NAME: the action of smtpd.conf that "
        "relays it");
  if (request.ttl == absl::ZeroDuration())
    request.ttl = postfix ? kPostfixTtl : kOpensmtpdTtl;
  *words = std::move(rest);
  return std::optional<SpoolRequest>(std::move(request));
}

absl::StatusOr<SpoolArchive> ArchiveOfSpool(const SpoolRequest& request,
                                            const std::string& folder) {
  absl::StatusOr<std::string> key = ReadKey(request.key_file);
  if (!key.ok()) return key.status();
  absl::StatusOr<OwnedFd> file = ScratchFile();
  if (!file.ok()) return file.status();
  ArchiveWriter archive;
  absl::Status status = archive.Open(file->get());
  if (!status.ok()) return status;
  ArchiveTaker taker(&archive);
  SpoolOptions options;
  options.folder = std::string(absl::StripSuffix(folder, "/"));
  options.key = *key;
  options.action = request.action;
  options.ttl = request.ttl;
  options.hostname = Hostname();
  options.now = absl::Now();
  options.say = [](absl::string_view line) {
    WriteAll(STDERR_FILENO, absl::StrCat(VisEncode(line), "\n"));
  };
  const auto reader = request.kind == SpoolRequest::Kind::kPostfix
                          ? ReadPostfixSpool(std::move(options), &taker)
                          : ReadOpensmtpdSpool(std::move(options), &taker);
  status = Archive(reader.get(), &archive);
  explicit_bzero(key->data(), key->size());
  if (!status.ok()) return status;
  return SpoolArchive{*std::move(file), reader->summary()};
}

}  // namespace holdfast
