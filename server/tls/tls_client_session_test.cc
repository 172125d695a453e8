// A client's handshakes: its own certificate, sessions it goes on with, and
// servers that do not keep to the protocol.
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/tls/client_context.h"
#include "server/tls/tls_test_bed.h"

namespace holdfast {
namespace {

class TlsClientSessionTest : public testing::Test {
 protected:
  TlsClientSessionTest()
      : certificate_(
            bed_.authority.Issue({"mx.example.org", "mx2.example.org"})),
        server_options_(bed_.Showing({certificate_})) {
    options_.ca = bed_.authority.certificate();
    Serve();
    client_ = bed_.Context(options_);
  }
  void Serve() {
    server_ = bed_.Context(server_options_);
    server_->SetTicketKeys(TlsTestBed::MakeTicketKeys("a"));
  }
  bool Exchange(const std::string& name = "mx.example.org") {
    return bed_.Exchange(server_.get(), client_.get(), name);
  }
  bool Resumes(const std::string& name = "mx.example.org") {
    EXPECT_TRUE(Exchange(name)) << bed_.ours.status;
    EXPECT_EQ(bed_.ours.info.resumed, bed_.info.resumed);
    return bed_.ours.info.resumed;
  }
  const SessionCache& sessions() {
    return static_cast<ClientContext*>(client_.get())->sessions();
  }

  TlsTestBed bed_;
  TestCertificate certificate_;
  TlsServerOptions server_options_;
  TlsClientOptions options_;
  std::unique_ptr<TlsServerContext> server_;
  std::unique_ptr<TlsClientContext> client_;
};

// ---- The client's certificate

TEST_F(TlsClientSessionTest, ACertificateOfOursIsShownWhenAsked) {
  const auto mine = bed_.authority.Issue({"client.example.org"});
  bed_.signer.Add(mine);
  options_.certificate = TlsCertificate{"us", mine.certificate};
  client_ = bed_.Context(options_);
  EXPECT_TRUE(Exchange());
  EXPECT_FALSE(bed_.info.peer_certificate);
  server_options_.ca = bed_.authority.certificate();
  for (const bool require : {false, true}) {
    for (const char* protocols : {"tlsv1.2", "tlsv1.3"}) {
      server_options_.ask_client = true;
      server_options_.require_client = require;
      server_options_.protocols = protocols;
      Serve();
      client_ = bed_.Context(options_);
      EXPECT_TRUE(Exchange()) << bed_.ours.status;
      EXPECT_TRUE(bed_.info.peer_verified);
      EXPECT_EQ(bed_.info.peer_subject, "/CN=client.example.org");
    }
  }
}

TEST_F(TlsClientSessionTest, WithoutOneAServerThatRequiresItGoes) {
  server_options_.ca = bed_.authority.certificate();
  server_options_.require_client = true;
  for (const char* protocols : {"tlsv1.2", "tlsv1.3"}) {
    server_options_.protocols = protocols;
    Serve();
    EXPECT_FALSE(Exchange());
    // In TLS 1.3 our side of the handshake is over when the alert comes.
    if (bed_.ours.stream != nullptr) {
      ASSERT_EQ(bed_.ours.closed.size(), 1u);
      EXPECT_EQ(
          bed_.ours.closed[0],
          absl::UnavailableError("TLS: tlsv1 alert certificate required"));
    } else {
      EXPECT_EQ(bed_.ours.status.message(), "sslv3 alert handshake failure");
    }
  }
}

TEST_F(TlsClientSessionTest, SigningTakesItsTimeAndMayFail) {
  const auto mine = bed_.authority.Issue({"client.example.org"});
  TestSigner signer(&bed_.loop);  // the server has its own
  signer.Add(mine);
  options_.certificate = TlsCertificate{"us", mine.certificate};
  client_ = *MakeTlsClientContext(options_, &signer);
  server_options_.ca = bed_.authority.certificate();
  server_options_.require_client = true;
  Serve();
  signer.hold = true;
  bed_.Accept(server_.get());
  bed_.Connect(client_.get(), "mx.example.org");
  bed_.Talk();
  EXPECT_EQ(bed_.ours.answers, 0);
  EXPECT_EQ(signer.seen.size(), 1u);
  signer.Release();
  bed_.Talk();
  EXPECT_TRUE(bed_.ours.stream != nullptr) << bed_.ours.status;
  signer.hold = false;
  signer.unavailable = true;
  client_ = *MakeTlsClientContext(options_, &signer);
  EXPECT_FALSE(Exchange());
  EXPECT_EQ(bed_.ours.status, absl::UnavailableError("no keys"));
  EXPECT_FALSE(bed_.status.ok());
  // Given up while it is being signed: nobody is told.
  signer.unavailable = false;
  signer.hold = true;
  bed_.Accept(server_.get());
  bed_.Connect(client_.get(), "mx.example.org");
  bed_.Talk();
  bed_.ours.handshake.reset();
  signer.Release();
  bed_.Talk();
  EXPECT_EQ(bed_.ours.answers, 0);
}

// ---- Resumption

TEST_F(TlsClientSessionTest, TheSecondTimeItGoesOn) {
  for (const char* protocols : {"tlsv1.2", "tlsv1.3"}) {
    server_options_.protocols = protocols;
    Serve();
    EXPECT_FALSE(Resumes());
    const std::string fingerprint = bed_.ours.info.peer_fingerprint;
    const size_t signatures = bed_.signer.seen.size();
    for (int i = 0; i < 3; ++i) {
      EXPECT_TRUE(Resumes("MX.example.org"));
      EXPECT_TRUE(bed_.ours.info.peer_verified);
      EXPECT_EQ(bed_.ours.info.peer_fingerprint, fingerprint);
      EXPECT_EQ(bed_.ours.info.version, bed_.info.version);
    }
    EXPECT_EQ(bed_.signer.seen.size(), signatures);
    client_ = bed_.Context(options_);
  }
}

TEST_F(TlsClientSessionTest, NeverUnderAnotherName) {
  EXPECT_FALSE(Resumes("mx.example.org"));
  EXPECT_FALSE(Resumes("mx2.example.org"));
  EXPECT_TRUE(Resumes("mx.example.org"));
  EXPECT_TRUE(Resumes("mx2.example.org"));
  // The certificate was never good for this one.
  EXPECT_FALSE(Exchange("mx3.example.org"));
  EXPECT_TRUE(absl::IsUnauthenticated(bed_.ours.status));
}

TEST_F(TlsClientSessionTest, NeverUnderAnotherPolicy) {
  TlsClientOptions any = options_;
  any.verify = false;
  // By its authorities the certificate does not hold.
  TestAuthority stranger("Another CA");
  any.ca = stranger.certificate();
  auto opportunistic = bed_.Context(any);
  EXPECT_TRUE(
      bed_.Exchange(server_.get(), opportunistic.get(), "mx.example.org"));
  EXPECT_FALSE(Resumes());
  EXPECT_TRUE(bed_.ours.info.peer_verified);
  EXPECT_TRUE(
      bed_.Exchange(server_.get(), opportunistic.get(), "mx.example.org"));
  EXPECT_TRUE(bed_.ours.info.resumed);
  EXPECT_FALSE(bed_.ours.info.peer_verified);
}

TEST_F(TlsClientSessionTest, WhatDidNotHoldIsNotKept) {
  TestAuthority stranger("Another CA");
  options_.ca = stranger.certificate();
  client_ = bed_.Context(options_);
  server_options_.protocols = "tlsv1.2";
  Serve();
  EXPECT_FALSE(Exchange());
  EXPECT_EQ(sessions().size(), 0u);
}

TEST_F(TlsClientSessionTest, ATicketOfTls13ServesOnce) {
  EXPECT_FALSE(Resumes());
  const size_t kept = sessions().size();
  ASSERT_GT(kept, 0u);
  // Connections that begin before any new ticket has come.
  for (size_t left = kept; left > 0; --left) {
    bed_.Accept(server_.get());
    bed_.Connect(client_.get(), "mx.example.org");
    EXPECT_EQ(sessions().size(), left - 1);
  }
  EXPECT_FALSE(Resumes());
}

TEST_F(TlsClientSessionTest, AServerThatForgotBeginsAnew) {
  for (const char* protocols : {"tlsv1.2", "tlsv1.3"}) {
    server_options_.protocols = protocols;
    Serve();
    client_ = bed_.Context(options_);
    EXPECT_FALSE(Resumes());
    server_->SetTicketKeys(TlsTestBed::MakeTicketKeys("z"));
    EXPECT_FALSE(Resumes());
    EXPECT_TRUE(bed_.ours.info.peer_verified);
    EXPECT_TRUE(Resumes());
  }
}

TEST_F(TlsClientSessionTest, AContextMayGoBeforeItsConnections) {
  bed_.Accept(server_.get());
  bed_.Connect(client_.get(), "mx.example.org");
  bed_.loop.RunReady();
  for (int i = 0; i < 10 && bed_.ours.stream == nullptr; ++i) {
    bed_.wire->to_server += std::exchange(bed_.ours.wire->from_server, "");
    bed_.wire->Deliver();
    bed_.loop.RunReady();
    bed_.ours.wire->to_server += std::exchange(bed_.wire->from_server, "");
    bed_.ours.wire->Deliver();
  }
  ASSERT_TRUE(bed_.ours.stream != nullptr);
  client_.reset();
  bed_.Talk();  // tickets come
  bed_.stream->Write("250 ok\r\n");
  bed_.Talk();
  EXPECT_EQ(bed_.ours.got, "250 ok\r\n");
}

// ---- Bad servers

class BadServerTest : public TlsClientSessionTest {
 protected:
  void Begin() {
    bed_.Connect(client_.get(), "mx.example.org");
    EXPECT_EQ(bed_.ours.wire->from_server, "") << "inside the call";
    bed_.loop.RunReady();
    EXPECT_EQ(bed_.ours.wire->from_server.substr(0, 2), "\x16\x03");
  }
  void Say(const std::string& bytes) {
    bed_.ours.wire->to_server += bytes;
    bed_.ours.wire->Deliver();
    bed_.loop.RunReady();
  }
};

TEST_F(BadServerTest, Garbage) {
  for (const char* text :
       {"220 mx.example.org ESMTP ready to start anything\r\n", "HTTP/1.1 400",
        "\x16\x03\x03\xff\xff more than a record holds",
        "\x15\x03\x03\x7f\x7f an alert"}) {
    Begin();
    Say(text);
    EXPECT_EQ(bed_.ours.answers, 1) << text;
    EXPECT_FALSE(bed_.ours.status.ok());
    EXPECT_NE(bed_.ours.status.message(), "");
    EXPECT_TRUE(bed_.ours.wire->dropped);
  }
}

TEST_F(BadServerTest, ClosesInTheHandshake) {
  for (const bool cleanly : {true, false}) {
    Begin();
    bed_.ours.wire->callbacks.on_closed(
        cleanly ? absl::OkStatus()
                : absl::UnavailableError("Connection reset by peer"));
    EXPECT_EQ(bed_.ours.answers, 1);
    EXPECT_EQ(bed_.ours.status,
              absl::UnavailableError(cleanly ? "connection closed"
                                             : "Connection reset by peer"));
  }
}

TEST_F(BadServerTest, SaysNothing) {
  Begin();
  bed_.loop.Advance(absl::Seconds(59));
  EXPECT_EQ(bed_.ours.answers, 0);
  bed_.loop.Advance(absl::Seconds(1));
  EXPECT_EQ(bed_.ours.answers, 1);
  EXPECT_TRUE(absl::IsDeadlineExceeded(bed_.ours.status));
  EXPECT_TRUE(bed_.ours.wire->dropped);
}

TEST_F(BadServerTest, GivingUpTellsNobody) {
  Begin();
  bed_.ours.handshake.reset();
  bed_.loop.Advance(absl::Minutes(5));
  EXPECT_EQ(bed_.ours.answers, 0);
  EXPECT_TRUE(bed_.ours.wire->dropped);
  // Before the first word, too.
  bed_.Connect(client_.get(), "mx.example.org");
  bed_.ours.handshake.reset();
  bed_.loop.RunReady();
  EXPECT_EQ(bed_.ours.answers, 0);
}

}  // namespace
}  // namespace holdfast
