#include "config/tls_options.h"

#include "gtest/gtest.h"

namespace holdfast {
namespace {

// "23", "2", "3", or the error.
std::string Spoken(absl::string_view text) {
  const absl::StatusOr<TlsProtocols> got = ParseTlsProtocols(text);
  if (!got.ok()) return std::string(got.status().message());
  return std::string(got->tls12 ? "2" : "") + (got->tls13 ? "3" : "");
}

TEST(TlsProtocols, WordsOfTheReference) {
  EXPECT_EQ(Spoken(""), "23");
  for (const char* both :
       {"all", "legacy", "tlsv1", "default", "secure", "SECURE",
        "tlsv1.2,tlsv1.3", "tlsv1.3:tlsv1.2", "tlsv1.0,tlsv1.2, tlsv1.3"})
    EXPECT_EQ(Spoken(both), "23") << both;
  EXPECT_EQ(Spoken("tlsv1.2"), "2");
  EXPECT_EQ(Spoken("TLSv1.3"), "3");
}

TEST(TlsProtocols, ANegationBeginsWithAll) {
  EXPECT_EQ(Spoken("!tlsv1.2"), "3");
  EXPECT_EQ(Spoken("all,!tlsv1.3"), "2");
  EXPECT_EQ(Spoken("tlsv1.2,!tlsv1.0"), "2");
}

TEST(TlsProtocols, WhatIsNoProtocol) {
  for (const char* bad : {"sslv3", "tlsv1.2,", ",", "!", "tlsv1.2 tlsv1.3",
                          "tlsv1.1", "!all", "!tlsv1.2,!tlsv1.3"}) {
    EXPECT_EQ(Spoken(bad),
              "failed to parse protocols \"" + std::string(bad) + "\"");
  }
}

TEST(TlsCiphers, KeywordsAndLists) {
  EXPECT_EQ(TlsCipherList(""), TlsCipherList("compat"));
  EXPECT_EQ(TlsCipherList("secure"), TlsCipherList("Default"));
  EXPECT_EQ(TlsCipherList("all"), TlsCipherList("insecure"));
  EXPECT_EQ(TlsCipherList("ECDHE+AES:!SHA"), "ECDHE+AES:!SHA");
}

}  // namespace
}  // namespace holdfast
