#include "protocol/idna.h"

#include "gtest/gtest.h"

namespace holdfast {
namespace {

TEST(IdnaTest, DomainsGetALabels) {
  EXPECT_EQ(DomainToAscii("Example.ORG").value(), "Example.ORG");
  EXPECT_EQ(DomainToAscii("[192.0.2.1]").value(), "[192.0.2.1]");
  EXPECT_EQ(DomainToAscii("b\xc3\xbc"
                          "cher.example")
                .value(),
            "xn--bcher-kva.example");
  EXPECT_EQ(DomainToAscii("B\xc3\x9c"
                          "CHER.example")
                .value(),
            "xn--bcher-kva.example");
  // Combining marks and their composed letter are one domain.
  EXPECT_EQ(DomainToAscii("bu\xcc\x88"
                          "cher.example")
                .value(),
            "xn--bcher-kva.example");
  EXPECT_EQ(DomainToAscii("stra\xc3\x9f"
                          "e.example")
                .value(),
            "xn--strae-oqa.example")
      << "not transitional";
}

TEST(IdnaTest, WhatIsNoDomainIsRefused) {
  for (const std::string& bad :
       {std::string("\xff.example"), std::string("a\xc3.example"),
        std::string("b\xc3\xbc\0cher", 8), std::string(64, '\xc3'),
        "\xc3\xbc" + std::string(70, 'a') + ".example"}) {
    EXPECT_FALSE(DomainToAscii(bad).ok());
  }
}

TEST(IdnaTest, PathsKeepTheirLocalPart) {
  EXPECT_EQ(PathToAscii("Info@b\xc3\xbc"
                        "cher.example")
                .value(),
            "Info@xn--bcher-kva.example");
  EXPECT_EQ(PathToAscii("\"a@b\"@b\xc3\xbc"
                        "cher.example")
                .value(),
            "\"a@b\"@xn--bcher-kva.example");
  EXPECT_EQ(PathToAscii("").value(), "");
  EXPECT_FALSE(PathToAscii("j\xc3\xb6rg@example.org").ok());
}

}  // namespace
}  // namespace holdfast
