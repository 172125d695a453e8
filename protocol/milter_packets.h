// The packets of Sendmail's milter protocol, versions 2 to 6: numbers, framing
// and what the answers of a milter say.  Integers are in network byte order,
// strings end with NUL.
//
//   4 octets length (of what follows), 1 octet command or answer, data
#ifndef HOLDFAST_PROTOCOL_MILTER_PACKETS_H_
#define HOLDFAST_PROTOCOL_MILTER_PACKETS_H_

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace holdfast {

// What we say.
enum class MilterCommand : char {
  kNegotiate = 'O',
  kMacros = 'D',
  kConnect = 'C',
  kHelo = 'H',
  kMail = 'M',
  kRcpt = 'R',
  kData = 'T',
  kHeader = 'L',
  kEndOfHeaders = 'N',
  kBody = 'B',
  kEndOfMessage = 'E',
  kAbort = 'A',
  kQuit = 'Q',
};

// What a milter may do to a message at its end (SMFIF_).
enum MilterAction : uint32_t {
  kMilterAddHeaders = 0x1,
  kMilterChangeBody = 0x2,
  kMilterAddRecipients = 0x4,
  kMilterRemoveRecipients = 0x8,
  kMilterChangeHeaders = 0x10,
  kMilterQuarantine = 0x20,
  kMilterChangeSender = 0x40,
  kMilterAddRecipientsWithParameters = 0x80,
  kMilterNameMacros = 0x100,
};
inline constexpr uint32_t kMilterActions = 0x1ff;

// What it does not want to be told, or does not answer (SMFIP_).
enum MilterStep : uint32_t {
  kMilterNoConnect = 0x1,
  kMilterNoHelo = 0x2,
  kMilterNoMail = 0x4,
  kMilterNoRcpt = 0x8,
  kMilterNoBody = 0x10,
  kMilterNoHeaders = 0x20,
  kMilterNoEndOfHeaders = 0x40,
  kMilterNoReplyHeader = 0x80,
  kMilterNoUnknown = 0x100,
  kMilterNoData = 0x200,
  kMilterSkip = 0x400,  // it may answer a piece of the body with "skip"
  kMilterRejectedRecipients = 0x800,
  kMilterNoReplyConnect = 0x1000,
  kMilterNoReplyHelo = 0x2000,
  kMilterNoReplyMail = 0x4000,
  kMilterNoReplyRcpt = 0x8000,
  kMilterNoReplyData = 0x10000,
  kMilterNoReplyUnknown = 0x20000,
  kMilterNoReplyEndOfHeaders = 0x40000,
  kMilterNoReplyBody = 0x80000,
  // Header values keep the blank behind the colon, in both directions.
  kMilterLeadingSpace = 0x100000,
};
inline constexpr uint32_t kMilterSteps = 0x1fffff;

inline constexpr uint32_t kMilterVersion = 6;
inline constexpr uint32_t kMilterOldestVersion = 2;

// Of the text in one packet of ours.
inline constexpr size_t kMilterChunkBytes = 65535;
// Of a header field, name and value; with their NULs and the code they are one
// packet.
inline constexpr size_t kMaxMilterFieldBytes = kMilterChunkBytes - 3;
// A longer packet of a milter is an error.
inline constexpr size_t kMaxMilterPacketBytes = 1 << 20;

// One packet of a milter.
struct MilterPacket {
  char code = 0;
  std::string data;
};

// Cuts what a milter sends into packets.  Memory: one packet.
class MilterPacketReader {
 public:
  // Takes bytes from the front of `*bytes` up to the end of a packet.  The
  // packet, or nullopt when more is needed, or an error: the length is
  // impossible.
  absl::StatusOr<std::optional<MilterPacket>> Read(absl::string_view* bytes);

 private:
  std::string pending_;
};

// Appends a packet.
void PutMilterPacket(MilterCommand command, absl::string_view data,
                     std::string* out);
void PutMilterString(absl::string_view text, std::string* data);
void PutMilterNumber(uint32_t number, std::string* data);
void PutMilterShort(uint16_t number, std::string* data);

// The answer to SMFIC_OPTNEG.
struct MilterOptions {
  uint32_t version = kMilterVersion;
  uint32_t actions = 0;
  uint32_t steps = 0;
  // The macros it wants, by stage (0 connect, 1 helo, 2 mail, 3 rcpt, 4 data,
  // 5 end of message, 6 end of headers); a stage that is not there has the
  // usual ones.  Names without braces.
  std::map<uint32_t, std::vector<std::string>> macros;
};
absl::StatusOr<MilterOptions> ParseMilterOptions(absl::string_view data);

// One change that a milter asks for.
struct MilterChange {
  enum class Kind : uint8_t {
    kAddHeader,        // name, value
    kInsertHeader,     // index, name, value
    kChangeHeader,     // index (from 1), name, value; an empty value deletes
    kReplaceBody,      // value: the next piece
    kChangeSender,     // value, parameters
    kAddRecipient,     // value, parameters
    kRemoveRecipient,  // value
    kQuarantine,       // value: why
  } kind = Kind::kAddHeader;
  uint32_t index = 0;
  std::string name, value, parameters;
};
// The change in `packet`; nullopt: it is none.
absl::StatusOr<std::optional<MilterChange>> ParseMilterChange(
    const MilterPacket& packet);
// The action that it must have asked for to be allowed this.
uint32_t ActionOf(const MilterPacket& packet);

// The text of SMFIR_REPLYCODE, "550 5.7.1 No" or several lines
// ("550-5.7.1 No\r\n550 5.7.1 way"), as one line.  An error unless each line
// begins with the same code, 4xx or 5xx.
absl::StatusOr<std::string> ParseMilterReply(absl::string_view data);

}  // namespace holdfast

#endif  // HOLDFAST_PROTOCOL_MILTER_PACKETS_H_
