#include "server/keys/tls_check.h"

#include <map>

#include "config/parser.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/tls/test_certificates.h"

namespace holdfast {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using testing::StartsWith;

class TlsCheckTest : public testing::Test {
 protected:
  TlsCheckTest()
      : mx_(authority_.Issue({"mx.example.org"})),
        other_(authority_.Issue({"other.example.org"})) {
    files_ = {{"/mx.crt", mx_.certificate},
              {"/mx.key", mx_.key},
              {"/other.key", other_.key},
              {"/ca.crt", authority_.certificate()},
              {"/none", "nothing in it"}};
  }
  std::vector<std::string> Errors(const std::string& text) {
    ParseOptions options;
    options.path = "smtpd.conf";
    options.server_name = "mx.example.org";
    const ParseResult parsed = ParseConfig(
        options, [&](const std::string&) -> absl::StatusOr<std::string> {
          return text + "action \"a\" mbox\nmatch for any action \"a\"\n";
        });
    EXPECT_TRUE(parsed.config != nullptr)
        << testing::PrintToString(parsed.messages);
    if (parsed.config == nullptr) return {"not parsed"};
    std::vector<Start::File> files;
    for (const auto& [path, contents] : files_)
      files.push_back({path, contents, false, ""});
    return CheckTls(*parsed.config, files,
                    [this](const std::string& name) {
                      asked_.push_back(name);
                      return std::string();
                    })
        .errors;
  }

  TestAuthority authority_;
  TestCertificate mx_, other_;
  std::map<std::string, std::string> files_;
  std::vector<std::string> asked_;
};

TEST_F(TlsCheckTest, WhatIsRight) {
  EXPECT_THAT(Errors("pki m1 cert \"/mx.crt\" key \"/mx.key\"\n"
                     "ca mine cert \"/ca.crt\"\n"
                     "listen on lo tls pki m1 ca mine\n"),
              IsEmpty());
  EXPECT_THAT(asked_, IsEmpty());
}

TEST_F(TlsCheckTest, AKeyOfAnotherCertificate) {
  EXPECT_THAT(Errors("pki m1 cert \"/mx.crt\" key \"/other.key\"\n"),
              ElementsAre("pki m1: /other.key: not the key of certificate "
                          "/mx.crt"));
}

TEST_F(TlsCheckTest, FilesWithoutWhatTheyShouldHave) {
  EXPECT_THAT(Errors("pki m1 cert \"/none\" key \"/none\"\n"
                     "ca mine cert \"/none\"\n"),
              ElementsAre("pki m1: /none: no certificate in it",
                          StartsWith("pki m1: /none: "),
                          "ca mine: /none: no certificate in it"));
}

TEST_F(TlsCheckTest, CiphersNameTheirListener) {
  EXPECT_THAT(Errors("pki m1 cert \"/mx.crt\" key \"/mx.key\"\n"
                     "listen on lo tls pki m1 ciphers \"AES128-SHA\"\n"),
              ElementsAre("smtpd.conf:2: no ciphers for 'AES128-SHA'"));
}

TEST_F(TlsCheckTest, RelaysAreLookedAt) {
  EXPECT_THAT(Errors("pki m1 cert \"/mx.crt\" key \"/mx.key\"\n"
                     "ca mine cert \"/ca.crt\"\n"
                     "action \"r\" relay tls pki m1 ca mine "
                     "ciphers \"secure\" protocols \"tlsv1.3\"\n"),
              IsEmpty());
  EXPECT_THAT(Errors("action \"r\" relay ciphers \"nonsense\"\n"
                     "action \"s\" relay helo \"x\"\n"),
              ElementsAre("smtpd.conf:1: no ciphers for 'nonsense'"));
  EXPECT_THAT(Errors("smtp ciphers \"nonsense\"\naction \"r\" relay\n"),
              ElementsAre("smtpd.conf:2: no ciphers for 'nonsense'"));
  // There are no system's authorities among these files.
  EXPECT_THAT(Errors("action \"r\" relay tls\n"),
              ElementsAre("smtpd.conf:1: ca: no certificate in it"));
  EXPECT_THAT(Errors("action \"r\" relay tls no-verify\n"), IsEmpty());
}

}  // namespace
}  // namespace holdfast
