#include "config/milter_socket.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace holdfast {
namespace {

using testing::HasSubstr;

TEST(MilterSocket, EveryForm) {
  struct Case {
    const char* written;
    const char* text;
  };
  for (const Case& c :
       {Case{"unix:/run/opendkim.sock", "unix:/run/opendkim.sock"},
        Case{"local:/run/x y", "unix:/run/x y"}, Case{"/run/x", "unix:/run/x"},
        Case{"inet:8891@localhost", "inet:8891@127.0.0.1"},
        Case{"inet:65535@192.0.2.1", "inet:65535@192.0.2.1"},
        Case{"inet6:1@localhost", "inet6:1@::1"},
        Case{"inet6:8891@2001:DB8:0::1", "inet6:8891@2001:db8::1"},
        Case{"inet6:8891@[::1]", "inet6:8891@::1"}}) {
    SCOPED_TRACE(c.written);
    const absl::StatusOr<MilterSocket> socket = ParseMilterSocket(c.written);
    ASSERT_TRUE(socket.ok()) << socket.status();
    EXPECT_EQ(socket->Text(), c.text);
    // What is printed is read again as the same.
    EXPECT_EQ(ParseMilterSocket(socket->Text())->Text(), c.text);
  }
}

TEST(MilterSocket, WhatItIsNot) {
  struct Case {
    std::string written;
    const char* why;
  };
  for (const Case& c :
       {Case{"", "a milter's socket is"}, Case{"run/x", "a milter's socket is"},
        Case{"tcp:1@localhost", "a milter's socket is"},
        Case{std::string("/run/a\0b", 8), "socket is"},
        Case{"unix:run/x", "must begin with /"},
        Case{"local:", "must begin with /"},
        Case{"/" + std::string(107, 'x'), "107 characters"},
        Case{"inet:localhost:8891", "the port comes first"},
        Case{"inet:8891", "the port comes first"},
        Case{"inet:0@localhost", "from 1 to 65535"},
        Case{"inet:65536@localhost", "from 1 to 65535"},
        Case{"inet:+1@localhost", "from 1 to 65535"},
        Case{"inet:@localhost", "from 1 to 65535"},
        Case{"inet:smtp@localhost", "from 1 to 65535"},
        Case{"inet:1@mx.example.org", "an IPv4 address"},
        Case{"inet:1@::1", "an IPv4 address"},
        Case{"inet:1@", "an IPv4 address"},
        Case{"inet6:1@127.0.0.1", "an IPv6 address"}}) {
    SCOPED_TRACE(c.written);
    const absl::Status status = ParseMilterSocket(c.written).status();
    EXPECT_THAT(std::string(status.message()), HasSubstr(c.why));
  }
  EXPECT_TRUE(ParseMilterSocket("/" + std::string(106, 'x')).ok());
}

}  // namespace
}  // namespace holdfast
