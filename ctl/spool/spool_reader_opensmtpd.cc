// OpenSMTPD: queue/HH/MESSAGE/{message,ENVELOPE...}; each file may be
// compressed and, around that, encrypted.
#include <unistd.h>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "ctl/spool/byte_source.h"
#include "ctl/spool/opensmtpd_spool.h"
#include "ctl/spool/spool_folder.h"
#include "ctl/spool/spool_reader.h"
#include "ctl/store/transfer_json.h"

namespace holdfast {
namespace {

constexpr char kSealed = '\x01';
constexpr absl::string_view kGzip = "\x1f\x8b";

using Source = std::unique_ptr<ByteSource>;

class OpensmtpdReader : public SpoolReader {
 public:
  using SpoolReader::SpoolReader;

  absl::Status Run() override {
    const std::string queue = absl::StrCat(options_.folder, "/queue");
    const auto buckets = ListFolder(queue);
    if (!buckets.ok())
      return absl::NotFoundError(
          absl::StrCat(options_.folder, ": not a spool of OpenSMTPD: ",
                       std::string(buckets.status().message())));
    for (const std::string& bucket : *buckets) {
      uint64_t number = 0;
      if (!ParseHex(bucket, 2, &number)) continue;
      const std::string path = absl::StrCat(queue, "/", bucket);
      const auto messages = ListFolder(path);
      if (!messages.ok()) {
        LeaveOut(path, messages.status().message());
        continue;
      }
      for (const std::string& message : *messages) {
        if (!ParseHex(message, 8, &number)) continue;
        const absl::Status status =
            OnMessage(message, absl::StrCat(path, "/", message));
        if (!status.ok()) return status;
      }
    }
    return absl::OkStatus();
  }

 private:
  // Of the whole file, from its beginning.
  absl::StatusOr<Source> OpenLayers(const SpoolFile& file) {
    char first = 0;
    if (pread(file.fd.get(), &first, 1, 0) < 0 ||
        lseek(file.fd.get(), 0, SEEK_SET) != 0)
      return absl::DataLossError("it can't be read");
    Source source = std::make_unique<FileSource>(file.fd.get());
    if (first != kSealed) return source;
    if (options_.key.empty())
      return absl::FailedPreconditionError(
          "it is encrypted: the key is needed (--key FILE)");
    return Source(
        std::make_unique<UnsealedSource>(std::move(source), options_.key));
  }

  absl::StatusOr<Source> Open(const SpoolFile& file) {
    absl::StatusOr<Source> source = OpenLayers(file);
    if (!source.ok()) return source;
    // Whether it is compressed only a look inside tells.
    std::string first;
    while (first.size() < kGzip.size()) {
      const absl::StatusOr<bool> more = (*source)->Read(&first);
      if (!more.ok()) return more.status();
      if (!*more) break;
    }
    source = OpenLayers(file);
    if (!source.ok() || !absl::StartsWith(first, kGzip)) return source;
    return Source(std::make_unique<GunzipSource>(*std::move(source)));
  }

  absl::StatusOr<OpensmtpdEnvelope> ReadEnvelope(const std::string& path) {
    const absl::StatusOr<SpoolFile> file = OpenSpoolFile(path);
    if (!file.ok()) return file.status();
    const absl::StatusOr<Source> source = Open(*file);
    if (!source.ok()) return source.status();
    const absl::StatusOr<std::string> text =
        ReadWhole(source->get(), kMaxOpensmtpdEnvelope);
    if (!text.ok()) return text.status();
    return ParseOpensmtpdEnvelope(*text);
  }

  // What the file does not tell.
  void Complete(uint64_t id, Envelope* e) const {
    e->id = EnvelopeId{id};
    e->expires = e->created + options_.ttl;
    if (e->smtpname.empty()) e->smtpname = options_.hostname;
    if (e->sockaddr.empty()) e->sockaddr = "local";
    if (e->kind == DeliveryKind::kMta) {
      e->routing_key = absl::AsciiStrToLower(e->dest.domain);
      if (!options_.action.empty()) e->action = options_.action;
    } else {
      if (e->mda_user.empty()) e->mda_user = e->dest.user;
      e->routing_key = e->mda_user;
    }
  }

  absl::Status OnMessage(const std::string& name, const std::string& path) {
    const auto files = ListFolder(path);
    // Gone while we looked, or not a folder.
    if (!files.ok()) return absl::OkStatus();
    std::vector<ExportEnvelope> envelopes;
    for (const std::string& file : *files) {
      uint64_t id = 0;
      if (!ParseHex(file, 16, &id) || !absl::StartsWith(file, name)) continue;
      const std::string place = absl::StrCat(path, "/", file);
      absl::StatusOr<OpensmtpdEnvelope> one = ReadEnvelope(place);
      if (absl::IsNotFound(one.status())) continue;
      if (!one.ok()) {
        LeaveOut(place, one.status().message());
      } else if (one->is_report) {
        ++summary_.reports;
      } else {
        Complete(id, &one->envelope);
        envelopes.push_back({std::move(one->envelope), options_.now});
      }
    }
    if (envelopes.empty()) return absl::OkStatus();
    const Envelope& first = envelopes[0].envelope;
    const std::string identity = absl::StrCat(name, "\n", first.smtpname, "\n",
                                              first.helo, "\n", first.sockaddr);
    return Give("opensmtpd", identity, std::move(envelopes), [&](Sink sink) {
      return ReadBody(absl::StrCat(path, "/message"), sink);
    });
  }

  absl::Status ReadBody(const std::string& path, Sink sink) {
    const absl::StatusOr<SpoolFile> file = OpenSpoolFile(path);
    if (!file.ok()) return file.status();
    const absl::StatusOr<Source> source = Open(*file);
    if (!source.ok()) return source.status();
    std::string piece;
    for (;;) {
      const absl::StatusOr<bool> more = (*source)->Read(&piece);
      if (!more.ok()) return more.status();
      if (!*more) return absl::OkStatus();
      const absl::Status status = sink(piece);
      if (!status.ok()) return status;
      piece.clear();
    }
  }
};

}  // namespace

std::unique_ptr<SpoolReader> ReadOpensmtpdSpool(SpoolOptions options,
                                                MailTaker* taker) {
  return std::make_unique<OpensmtpdReader>(std::move(options), taker);
}

}  // namespace holdfast
